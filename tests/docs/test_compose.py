"""What docker-compose.yml starts is a service on a database, and another one stands by."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.postgresql import shared_server

yaml = pytest.importorskip("yaml", reason="the file is read with PyYAML")

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SHOP = COMPOSE["services"]["shop"]
ADDRESS = SHOP["environment"]["PROCESSION_STORE"]


@contextmanager
def service(url: str) -> Iterator[subprocess.Popen[str]]:
    """The service's command at another address."""
    command = [url if one == ADDRESS else one for one in SHOP["command"]]
    assert command[0] == "python"
    process = subprocess.Popen(
        [sys.executable, *command[1:]],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_its_service_is_on_its_database() -> None:
    database = COMPOSE["services"]["database"]["environment"]
    place = f"{database['POSTGRES_USER']}@database/{database['POSTGRES_DB']}"
    assert ADDRESS.startswith(f"postgresql://{place}?wait_for_owner=")
    assert ADDRESS in SHOP["command"]
    assert SHOP["environment"]["PGPASSWORD"] == database["POSTGRES_PASSWORD"]


def test_one_service_works_and_the_other_takes_over_when_it_is_killed() -> None:
    url = f"{shared_server().new_url()}&{ADDRESS.partition('?')[2]}"
    with service(url) as first:
        assert first.stdout is not None
        assert "runs" in first.stdout.readline()
        with service(url) as second:
            assert second.stdout is not None
            first.kill()
            assert "runs" in second.stdout.readline()
            second.send_signal(signal.SIGTERM)
            assert second.wait(timeout=60) == 0
