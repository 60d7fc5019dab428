"""The viewer in a real browser: progress without a reload, runs side by side, labels that survive one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support_browser import PHONE, Tab
from tests.support_browser import browser as browser
from tests.support_browser import tab as tab
from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from tests.support_view import serving
from unisandbox.labels import questions, read_labels

RUN = Path("runs/one")


@pytest.fixture
def url(words: Path) -> Iterator[str]:
    """Serve two runs."""
    for name, right in (("one", 0.4), ("other", 0.9)):
        run_words(modes=["direct", "answer"], models=f"painter:right={right}", out=f"runs/{name}")
    with serving(Path("runs")) as port:
        yield f"http://127.0.0.1:{port}"


def test_progress_comes_without_a_reload(url: str, tab: Tab) -> None:
    logs = {name: (RUN / name).read_bytes() for name in ("generations.jsonl", "verdicts.jsonl")}
    for name, text in logs.items():
        (RUN / name).write_bytes(text[: text.index(b"\n") + 1])
    page = tab.open(f"{url}/")
    row = page.locator(".run", has_text="right=0.4")
    assert "running" in row.inner_text() and "asked 1/12, judged 1/12" in row.inner_text()
    for name, text in logs.items():
        (RUN / name).write_bytes(text)
    tab.until("document.body.innerText.match(/asked 12.12, judged 12.12/g)?.length === 2")
    assert "finished" in row.inner_text()


def test_two_ticks_lead_to_both_side_by_side(url: str, tab: Tab) -> None:
    page = tab.open(f"{url}/")
    assert page.get_attribute("#compare", "href") is None
    page.check("[aria-label='compare one']")
    page.check("[aria-label='compare other']")
    page.click("#compare")
    assert page.url == f"{url}/compare?run=one&run=other"
    assert page.text_content("#count") == "6 of 6"
    page.mouse.wheel(0, 5000)
    tab.until("document.images.length && [...document.images].every(image => image.naturalWidth)")
    page.click("text=All runs")
    page.click(".run a.name >> text=one")
    assert page.url == f"{url}/run/one/" and page.text_content("#count") == "6 of 6"


def test_labels_by_keyboard_survive_a_reload(url: str, tab: Tab) -> None:
    first, second, third, *_ = (one.id for one in questions(RUN))
    page = tab.open(f"{url}/label/one/")
    page.keyboard.press("y")
    tab.until("document.querySelector('#state').textContent.startsWith('picture 2')")
    page.keyboard.press("n")
    tab.until("document.querySelector('#state').textContent.startsWith('picture 3')")
    assert read_labels(RUN) == {first: "yes", second: "no"}
    page.reload()
    assert page.text_content("#state").startswith("picture 3 of 6 · 2 labelled: 1 yes, 1 no, 0 unsure")
    page.keyboard.press("ArrowLeft")
    assert page.text_content("#choices [aria-pressed=true]") == "no"
    page.keyboard.press("u")
    tab.until("document.querySelector('#state').textContent.includes('1 unsure')")
    assert read_labels(RUN)[second] == "unsure"
    page.click("#export")
    tab.until("document.querySelector('#exported').textContent.includes('calibrate.jsonl')")
    page.click("#agreement summary")
    tab.until("document.querySelector('#agreement table').textContent.includes('reader')")
    assert third not in read_labels(RUN)


def test_labels_by_thumb_and_the_end(url: str, tab: Tab) -> None:
    page = tab.open(f"{url}/label/one/", PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    for number in range(1, 7):
        page.click("[data-label=yes]")
        tab.until(f"document.querySelector('#state').textContent.includes('{number} labelled')")
    assert "all done" in page.text_content("#state")
    assert set(read_labels(RUN).values()) == {"yes"} and len(read_labels(RUN)) == 6


def test_a_label_that_cannot_be_kept_is_said_to_be(url: str, tab: Tab) -> None:
    page = tab.open(f"{url}/label/one/")
    (RUN / "labels.jsonl").mkdir()
    page.keyboard.press("y")
    page.wait_for_selector("#problem:not([hidden])")
    assert "Not kept: error: runs/one/labels.jsonl cannot be written: Is a directory" in page.text_content(
        "#problem"
    )
    assert page.text_content("#state").startswith("picture 1 of 6 · 0 labelled")
    assert all("400 (Bad Request)" in fault for fault in tab.faults)
    tab.faults.clear()
