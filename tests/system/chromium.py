"""The browser of the tests, and the folder for its pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NEEDS_NOTHING_FROM_OUTSIDE = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
#: Where pictures for the documentation are put, None when none are wanted.
PICTURES = os.environ.get("SCREENSHOTS")


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a browser, and end it afterwards."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=NEEDS_NOTHING_FROM_OUTSIDE)
        try:
            yield started
        finally:
            started.close()


def take_picture(of: Page | Locator, name: str) -> None:
    """Take a picture for the documentation, when asked to."""
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        of.screenshot(path=f"{PICTURES}/{name}.png", animations="disabled")
