"""The names that spans and metrics have, all in one place.

OpenTelemetry's conventions for messaging are still in development: their names are written out here
as they were in version 1.36, and stay until a version of Procession changes them and says so. What
they have no name for begins with ``procession.``.
"""

from __future__ import annotations

__all__ = [
    "ATTEMPT",
    "COMMIT_STEPS",
    "CONVERSATION_ID",
    "DESTINATION",
    "ERROR_PLACE",
    "ERROR_TYPE",
    "HANDLER",
    "INSTANCE",
    "MESSAGE_ID",
    "MESSAGE_TYPE",
    "METRICS",
    "OPERATION_NAME",
    "OPERATION_TYPE",
    "OUTCOME",
    "POSITION",
    "SCHEMA_URL",
    "SCOPE",
    "STREAM",
    "SYSTEM",
    "SYSTEM_NAME",
    "VERSION",
    "WAITED",
]

SCOPE = "procession"
"""The instrumentation scope of all spans."""

SCHEMA_URL = "https://opentelemetry.io/schemas/1.36.0"
"""The version of the conventions."""

# Of the conventions

SYSTEM = "messaging.system"
SYSTEM_NAME = "procession"
OPERATION_TYPE = "messaging.operation.type"
OPERATION_NAME = "messaging.operation.name"
DESTINATION = "messaging.destination.name"
"""The name of a process manager, or the category of an aggregate or a stream."""
MESSAGE_ID = "messaging.message.id"
"""The id of an event or a command, or ``timeout:<name>``."""
CONVERSATION_ID = "messaging.message.conversation_id"
"""The correlation id of a chain."""
ERROR_TYPE = "error.type"

# Of ours

MESSAGE_TYPE = "procession.message.type"
"""The wire name of an event or a command, or ``timeout``."""
INSTANCE = "procession.instance"
STREAM = "procession.stream"
POSITION = "procession.position"
VERSION = "procession.version"
"""Of the instance after the step."""
HANDLER = "procession.handler"
OUTCOME = "procession.outcome"
"""What came of a step, by the name of the counter in `Runtime.stats`."""
ATTEMPT = "procession.attempt"
WAITED = "procession.waited"
"""Whether the message waited, so that the span is linked to its cause and not its child."""
ERROR_PLACE = "procession.error.place"
COMMIT_STEPS = "procession.commit.steps"
"""How many steps a commit holds."""

METRICS = "procession"
"""What the names of all metrics begin with."""
