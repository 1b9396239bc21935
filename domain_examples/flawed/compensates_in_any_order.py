"""Undoes steps in any order.

The room was booked for the flight, and the flight must be given back first: without a room to fly
to there is a fee. The flawed one issues both commands in that order, and takes it for the order in
which they are carried out.
"""

from procession import Aggregate, Command, Domain, Event, ProcessManager, handle
from procession.testing import Simulation


class BookTrip(Command):
    trip_id: str


class CallOff(Command):
    trip_id: str


class CancelFlight(Command):
    trip_id: str


class CancelRoom(Command):
    trip_id: str


class TripBooked(Event):
    trip_id: str


class TripCalledOff(Event):
    trip_id: str


class FlightCancelled(Event):
    trip_id: str


class RoomCancelled(Event):
    trip_id: str


class Trip(Aggregate, identity="trip_id"):
    @handle(BookTrip)
    def book(self, command: BookTrip) -> TripBooked:
        return TripBooked(self.id)

    @handle(CallOff)
    def call_off(self, command: CallOff) -> TripCalledOff:
        return TripCalledOff(self.id)


class Flight(Aggregate, identity="trip_id"):
    @handle(CancelFlight)
    def cancel(self, command: CancelFlight) -> FlightCancelled:
        return FlightCancelled(self.id)


class Room(Aggregate, identity="trip_id"):
    @handle(CancelRoom)
    def cancel(self, command: CancelRoom) -> RoomCancelled:
        return RoomCancelled(self.id)


class AllAtOnce(ProcessManager, correlate="trip_id"):
    trip_id: str = ""

    @handle(TripBooked, start=True)
    def on_booked(self, event: TripBooked) -> None:
        pass

    @handle(TripCalledOff, end=True)
    def on_called_off(self, event: TripCalledOff) -> None:
        self.issue(CancelFlight(self.trip_id), CancelRoom(self.trip_id))


class OneByOne(ProcessManager, correlate="trip_id"):
    trip_id: str = ""

    @handle(TripBooked, start=True)
    def on_booked(self, event: TripBooked) -> None:
        pass

    @handle(TripCalledOff)
    def on_called_off(self, event: TripCalledOff) -> None:
        self.issue(CancelFlight(self.trip_id))

    @handle(FlightCancelled, end=True)
    def on_flight_cancelled(self, event: FlightCancelled) -> None:
        self.issue(CancelRoom(self.trip_id))


flawed = Domain("travel")
# A service calls every trip off in the end: here it is about nothing else.
flawed.register(Trip, Flight, Room, AllAtOnce, CallOff)

correct = Domain("travel")
correct.register(Trip, Flight, Room, OneByOne, CallOff)

program = [BookTrip("t1"), CallOff("t1")]


def the_flight_goes_before_the_room(simulation: Simulation) -> None:
    undone = [
        type(one.event).__name__
        for one in simulation.events()
        if isinstance(one.event, FlightCancelled | RoomCancelled)
    ]
    assert undone[:1] != ["RoomCancelled"], f"undone: {undone}"


invariants = [the_flight_goes_before_the_room]
