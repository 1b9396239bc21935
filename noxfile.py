"""The tests on each Python that the project claims; one that is not there is passed over."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.download_python = "never"


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """All tests, on the package as it is installed for development."""
    session.install("--config-settings", "editable_mode=strict", "--editable", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)
