"""The browser of the dashboards' tests: the distribution's Chromium, found, or installed where we may.

The surprising thing: Playwright would fetch a browser of its own, from an address of its own; it is told to take this.
"""

import shutil
from pathlib import Path

from local import bootstrap

NAMES = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium", "fonts-dejavu-core", "fonts-droid-fallback")
"""With fonts, the second for titles in Chinese, Japanese and Korean: a machine without a screen has none."""
NEEDED_FOR = "the tests of the dashboards need"
BY_HAND = f"sudo apt-get install {' '.join(PACKAGES)}"


def find() -> Path | None:
    """The first of them on the PATH."""
    return next((Path(found) for name in NAMES if (found := shutil.which(name))), None)


def ensure() -> Path:
    """Chromium, by apt where we are root; else a `BootstrapError` that says the command."""
    found = find()
    if found is None:
        bootstrap.apt_install(PACKAGES, f"Chromium, which {NEEDED_FOR}, is missing")
        found = find()
    if found is None:
        raise bootstrap.BootstrapError(f"expected one of {', '.join(NAMES)} after installing it, found none")
    return found
