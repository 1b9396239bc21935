"""The service of the page about deploying runs, answers its probes, and ends at SIGTERM."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actors.control.service import short_folder
from tests.docs.walkthrough import ROOT, blocks, files, is_printed, lines

PAGE = "docs/deploy.md"
FILES = files(PAGE)
CONTAINER = FILES["Dockerfile"]


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with short_folder() as folder:
        shop = files("docs/tutorial.md")["shop.py"]
        for name, text in {**FILES, "shop.py": shop}.items():
            (folder / name).write_text(text)
        (folder / "data").mkdir()
        (folder / "backup").mkdir()
        monkeypatch.setenv("PROCESSION_STORE", str(folder / "data/shop"))
        monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        yield folder


@pytest.fixture
def service(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """What the image starts, at a folder of its own in place of the volume."""
    with subprocess.Popen(
        json.loads(instructions("CMD")[-1]), cwd=folder, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "serving\n"
        yield process
        process.kill()


def instructions(name: str) -> list[str]:
    return re.findall(rf"^{name} (.*)$", CONTAINER, re.MULTILINE)


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def probes() -> list[list[str]]:
    page = (ROOT / PAGE).read_text()
    docker = instructions("HEALTHCHECK")[0].partition("CMD ")[2]
    [kubernetes] = re.findall(r"    command: (\[.*\])", page)
    [alert] = re.findall(r"`(procession health) \|\| ", page)
    return [json.loads(docker), json.loads(kubernetes), alert.split()]


def test_the_probes_answer_while_the_service_runs_and_fail_when_it_does_not(
    service: subprocess.Popen[str], folder: Path
) -> None:
    for probe in probes():
        done = run(probe, folder)
        assert done.returncode == 0, done.stderr
    service.send_signal(signal.SIGTERM)
    assert service.wait(timeout=60) == 0
    for probe in probes():
        assert run(probe, folder).returncode != 0


def test_a_service_that_is_told_to_stop_ends_in_order_within_what_its_manager_waits(
    service: subprocess.Popen[str], folder: Path
) -> None:
    service.send_signal(signal.SIGTERM)
    assert service.wait(timeout=60) == 0
    assert run(["procession", "verify", str(folder / "data/shop")], folder).returncode == 0

    [closing] = re.findall(r"close\(timeout=(\d+)\)", FILES["service.py"])
    page = (ROOT / PAGE).read_text()
    waits = re.findall(r"(?:stop_grace_period|terminationGracePeriodSeconds): (\d+)", page)
    assert len(waits) == 2
    assert all(int(seconds) > int(closing) for seconds in waits)


@pytest.mark.usefixtures("service")
def test_the_commands_of_the_page_run_beside_the_service(folder: Path) -> None:
    typed = [line for one in blocks(PAGE) if one.language == "console" for line in lines(one)]
    for line in typed:
        here = re.sub(r"/(data|backup)\b", rf"{folder}/\1", line.typed)
        done = run(here.split(), folder)
        assert done.returncode == 0, done.stdout + done.stderr
        assert is_printed(line.shown, done.stdout.replace(str(folder), "")), done.stdout


def test_the_image_has_the_files_of_the_page_and_starts_python_as_process_1() -> None:
    known = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "VOLUME", "HEALTHCHECK", "CMD"}
    assert {line.split()[0] for line in CONTAINER.splitlines()} == known
    assert instructions("COPY") == ["shop.py service.py ./"]
    assert json.loads(instructions("CMD")[0])[0] == "python"
    [store] = instructions("ENV")
    assert store.startswith(f"PROCESSION_STORE={instructions('VOLUME')[0]}/")
