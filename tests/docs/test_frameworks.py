"""The applications of the page about frameworks serve, each by the command that the page gives."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import pytest

from procession.store import verify
from tests.actors.control.service import short_folder
from tests.docs.walkthrough import blocks, files

PAGE = "docs/guide/frameworks.md"

MANAGE = """\
import sys

import django
from django.conf import settings
from django.core.management import execute_from_command_line

settings.configure(
    ALLOWED_HOSTS=["*"], INSTALLED_APPS=["orders"], ROOT_URLCONF="orders.urls", SECRET_KEY="none"
)
django.setup()
execute_from_command_line(sys.argv)
"""
"""What a Django project has besides; Django makes it."""

BROKER = """\
broker_transport_options = {"data_folder_in": "broker", "data_folder_out": "broker"}
"""
"""A broker that is a folder."""

NEEDS = {
    "FastAPI": ("fastapi", "uvicorn"),
    "Flask": ("flask", "waitress"),
    "Django": ("django", "waitress"),
    "gunicorn": ("flask", "gunicorn"),
    "Celery": ("celery", "flask", "waitress"),
}


def commands(framework: str) -> list[list[str]]:
    """What the page types, with any free port."""
    needed = [one for one in NEEDS[framework] if find_spec(one) is None]
    if needed:
        pytest.skip(f"not installed: {', '.join(needed)}; pip install 'procession[frameworks]'")
    [block] = [one for one in blocks(PAGE) if one.title == framework]
    typed = [line.removeprefix("$ ") for line in block.text.splitlines()]
    return [line.replace("--port 8000", "--port 0").split() for line in typed]


@pytest.fixture
def folder() -> Iterator[Path]:
    with short_folder() as folder:
        shop = files("docs/tutorial.md")["shop.py"]
        written = {**files(PAGE), "shop.py": shop, "manage.py": MANAGE, "celery_folder.py": BROKER}
        for name, text in written.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        (folder / "broker").mkdir()
        yield folder


@contextmanager
def started(command: list[str], folder: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, *command[1:]]
        if command[0] == "python"
        else [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "LISTEN": "127.0.0.1:0", "PYTHONPATH": str(folder), **variables},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def said(lines: IO[str] | None, pattern: str) -> str:
    """Wait until a process says this."""
    assert lines is not None
    before = []
    for line in lines:
        before.append(line)
        if found := re.search(pattern, line):
            return found[0]
    pytest.fail("".join(before))


@contextmanager
def serving(command: list[str], folder: Path, **variables: str) -> Iterator[str]:
    """The address of a server, which ends by SIGTERM, in order."""
    with started(command, folder, **variables) as process:
        yield said(process.stderr, r"http://127\.0\.0\.1:\d+")
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        rest = process.stderr.read()
        # Uvicorn ends by the signal itself, once the application has ended.
        assert process.wait(timeout=60) in {0, -signal.SIGTERM}, rest
        assert "Traceback" not in rest


def answer(method: str, url: str, body: dict[str, str] | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(
        url, method=method, headers={"Content-Type": "application/json"}
    )
    if body is not None:
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, None


@pytest.mark.parametrize("framework", ["FastAPI", "Flask", "Django", "gunicorn"])
def test_an_application_takes_orders_once_and_has_them_when_it_is_started_again(
    framework: str, folder: Path
) -> None:
    [command] = commands(framework)
    order = {"country": "DE", "total": "40"}
    with serving(command, folder) as url:
        assert answer("PUT", f"{url}/orders/o1", order) == (201, {"order": "o1"})
        assert answer("PUT", f"{url}/orders/o1", order) == (201, {"order": "o1"})
        assert answer("PUT", f"{url}/orders/o1", {**order, "total": "41"})[0] == 409
        assert answer("GET", f"{url}/orders/unknown")[0] == 404
    with serving(command, folder) as url:
        assert answer("GET", f"{url}/orders/o1") == (200, {"status": "paid"})
    assert verify(folder / "var/shop") == []


@pytest.mark.parametrize("framework", ["FastAPI", "Flask", "Django", "gunicorn"])
def test_a_second_server_process_is_refused_with_a_sentence(framework: str, folder: Path) -> None:
    [command] = commands(framework)
    with serving(command, folder), started(command, folder) as second:
        said(second.stderr, "LockedStore: .*var/shop")
        assert second.stderr is not None
        second.stderr.read()
        assert second.wait(timeout=60) != 0


def test_a_worker_of_celery_does_what_the_process_sent_and_reports_to_it(folder: Path) -> None:
    service, worker = commands("Celery")
    broker = {"BROKER": "filesystem://", "CELERY_CONFIG": "celery_folder"}
    with serving(service, folder, **broker) as url:
        assert answer("PUT", f"{url}/orders/o1") == (201, {"order": "o1"})
        options = ["--pool", "solo", "--loglevel", "INFO"]
        with started([*worker, *options], folder, SHOP=url, **broker) as process:
            assert "paid" in said(process.stderr, r"tasks\.charge\[placed-o1\] succeeded .*")
    assert verify(folder / "var/shop") == []
