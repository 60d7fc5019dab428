"""A real browser for tests of pages: Chromium, driven by Playwright; skipped, visibly, where there is none.

Test files take the fixtures over by ``from tests.support_browser import browser as browser, tab as tab``.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP, PHONE = (1300, 900), (390, 844)


def chromium() -> str | None:
    """Return where Chromium is installed, if it is."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser for the tests of one file."""
    driver = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if (path := chromium()) is None:
        pytest.skip("Chromium is not installed")
    with driver.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield opened
        opened.close()


@dataclass
class Tab:
    """An open page, with what went wrong in it and what it asked for."""

    browser: Any
    page: Any = None
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, url: str, size: tuple[int, int] = DESKTOP) -> Any:
        """Open a page in a fresh profile; return Playwright's page."""
        self.close()
        self.page = self.browser.new_page(viewport={"width": size[0], "height": size[1]})
        self.page.set_default_timeout(10_000)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)
        return self.page

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def until(self, expression: str) -> None:
        """Wait until JavaScript says yes; asked from outside, since the pages' policy forbids to evaluate."""
        for _ in range(500):
            if self.page.evaluate(expression):
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"never true: {expression}")

    def close(self) -> None:
        """Close the page, if one is open."""
        if self.page is not None:
            self.page.close()
            self.page = None


@pytest.fixture
def tab(browser: Any) -> Iterator[Tab]:
    """A tab whose page must not have complained."""
    opened = Tab(browser)
    yield opened
    opened.close()
    assert not opened.faults
