"""Where Procession cannot run, importing it says so."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("package", ["procession", "procession.store", "procession.testing"])
def test_a_python_without_fcntl_such_as_that_of_windows_is_refused_with_a_sentence(
    package: str,
) -> None:
    program = f"import sys; sys.modules['fcntl'] = None; import {package}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: Procession locks its store by fcntl, which this Python does not have, as on "
        "Windows; run it on Linux or macOS, or on Windows inside WSL 2"
    )
