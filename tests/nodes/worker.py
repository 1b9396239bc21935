"""A node in a process of its own, which also asks for work: a case after another, until its input
ends.

It says what was acknowledged, and each error that a caller saw. After an error it asks again, with
the same id.
"""

import argparse
import faulthandler
import signal
import sys
import threading
import time

from procession import ProcessionError, Runtime
from tests.actors.cluster.crossing import Open, Opened, crossing


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def parts_of(case: str) -> tuple[str, ...]:
    """What a case wants; the last of them is refused."""
    return f"p-{case}", f"q-{case}", f"bad-{case}"


def work(runtime: Runtime, name: str, is_over: threading.Event, pause: float) -> None:
    number = 0
    while not is_over.wait(pause):
        case = f"{name}-{number}"
        say("asks", case)
        while True:
            try:
                reply = runtime.ask(Open(case, parts_of(case)), command_id=case, timeout=30)
                assert list(reply) == [Opened(case, parts_of(case))]
            except ProcessionError as error:
                say("error", case, type(error).__name__, " ".join(str(error).split()))
                if is_over.wait(0.02):
                    return
            else:
                break
        say("asked", case)
        number += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("name")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--pause", type=float, default=0.0)
    options = parser.parse_args()
    # Where its threads are, if it crashes, or is asked because it hangs.
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    is_over = threading.Event()
    while True:
        try:
            runtime = Runtime(options.url, crossing, partitions=options.partitions)
        except ProcessionError as error:
            say("error", "opening", type(error).__name__, " ".join(str(error).split()))
            time.sleep(0.1)
        else:
            break
    with runtime:
        say("runs")
        arguments = (runtime, options.name, is_over, options.pause)
        asking = threading.Thread(target=work, args=arguments)
        asking.start()
        sys.stdin.read()
        is_over.set()
        asking.join()
    say("ended")


if __name__ == "__main__":
    main()
