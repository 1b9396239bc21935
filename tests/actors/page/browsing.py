"""Where a browser is, and how it is started."""

import shutil

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

FOR_CONTAINERS = [
    "--no-sandbox",  # it needs rights that a container's root does not have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
"""Options with which it starts anywhere, and calls no other host by itself."""
