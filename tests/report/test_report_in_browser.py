"""The report in a real browser: from disk, without network, by mouse, keyboard and link."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support_backends import write_task
from tests.support_browser import PHONE, Tab
from tests.support_browser import browser as browser
from tests.support_browser import tab as tab
from tests.support_report import ALL, HOSTILE, hostile_run, two_runs
from tests.support_run import by_sample, run_words
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox.report.page import write_report

pytestmark = pytest.mark.usefixtures("words")

IN_ORDER = "nodes => nodes.map(node => node.querySelector('h3 a').textContent)"


@pytest.fixture
def url() -> str:
    """The report of a run of which about half failed."""
    run_words(modes=ALL, models="painter:right=0.5")
    return written("run")


def written(*runs: str, output: str | None = None, embed: bool = False) -> str:
    """Write a report; return where its samples are."""
    path = write_report([Path(run) for run in runs], Path(output) if output else None, embed=embed)
    return f"{path.resolve().as_uri()}#samples"


def listed(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all("#list .item", IN_ORDER)
    return found


def count(page: Any) -> str:
    return str(page.text_content("#count"))


def current(page: Any) -> str:
    return str(page.get_attribute("#list .item[aria-current]", "aria-label")).split(",")[0]


def test_it_opens_from_disk_and_asks_for_nothing_else(url: str, tab: Tab) -> None:
    page = tab.open(url)
    assert count(page) == "6 of 6" and len(listed(page)) == 6
    page.mouse.wheel(0, 5000)
    tab.until("[...document.images].every(image => image.complete && image.naturalWidth)")
    folder = Path("run").resolve().as_uri()
    assert all(asked.startswith((f"{folder}/", "data:")) for asked in tab.requests)
    assert page.evaluate("document.images.length") > 20


def test_filters(url: str, tab: Tab) -> None:
    page = tab.open(url)
    page.select_option("[name=mode]", "direct")
    page.select_option("[name=verdict]", "incorrect")
    failed = listed(page)
    assert 0 < len(failed) < 6 and count(page) == f"{len(failed)} of 6"
    page.select_option("[name=verdict]", "correct")
    assert not set(listed(page)) & set(failed) and len(listed(page)) == 6 - len(failed)
    page.click("[type=reset]")
    assert count(page) == "6 of 6"
    page.fill("[name=q]", "which S3?")  # every word, in any case
    assert listed(page) == [] and page.text_content("#list") == "No sample passes these filters."
    page.fill("[name=q]", "WHICH w3")
    assert listed(page) == ["words s3"]
    page.fill("[name=q]", "")
    page.select_option("[name=sort]", "failed")
    assert listed(page)[: len(failed)] == failed


def test_keys(url: str, tab: Tab) -> None:
    page = tab.open(url)
    page.keyboard.press("j")
    assert current(page) == "words s2" and "words s2" in page.text_content("#detail h3")
    page.keyboard.press("ArrowDown")  # the row has the focus now
    page.keyboard.press("ArrowRight")
    assert current(page) == "words s4"
    page.keyboard.press("k")
    page.keyboard.press("ArrowUp")
    assert current(page) == "words s2"
    page.keyboard.press("/")
    page.keyboard.type("jk w5")  # letters are letters there
    assert page.input_value("[name=q]") == "jk w5"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement === document.body")


def test_links_lead_to_a_sample_and_its_filters(url: str, tab: Tab) -> None:
    page = tab.open(url)
    page.fill("[name=q]", "words")
    page.click("#list .item >> nth=3")
    link = page.url
    assert "q=words" in link and "s=words%2Fpainter%3Aright%3D0.5%2Fs4" in link
    assert page.get_attribute("#detail h3 a", "href") == "#" + link.split("#")[1]
    page = tab.open(link)
    assert current(page) == "words s4" and page.input_value("[name=q]") == "words"
    page.reload()
    assert current(page) == "words s4"
    page.goto(url.partition("#")[0] + "#s=words/painter:right=0.5/s6")
    tab.until("document.querySelector('#detail h3').textContent === 'words s6'")


def test_a_sample_shows_all_that_came_of_it(url: str, tab: Tab) -> None:
    page = tab.open(url)
    page.click("#list .item >> nth=1")
    text = page.inner_text("#detail")
    line = {**by_sample("generations.jsonl")["s2"]}
    for word in ("Which is w2?", "target", "w2", "reader", "saw", "as seen", str(line["seed"]), *ALL):
        assert word in text
    assert page.locator("#detail img").count() == 4
    assert all(page.locator("#detail img").evaluate_all("nodes => nodes.map(node => node.alt)"))


def test_hostile_words_do_nothing(tab: Tab) -> None:
    hostile_run()
    page = tab.open(written("run"))
    page.evaluate("addEventListener('securitypolicyviolation', () => { window.violated = true; })")
    for number in range(6):
        page.click(f"#list .item >> nth={number}")
        text = page.text_content("#detail")
        assert text.count(HOSTILE) >= 15  # prompt, thought, text, reason, observed, raw, target
    page.fill("[name=q]", HOSTILE.split()[0])
    assert count(page) == "6 of 6"
    assert page.evaluate("[window.pwned, window.violated]") == [None, None]
    page.click("#settings summary >> nth=2")
    assert HOSTILE.split()[0] in page.text_content("#settings")


def test_the_policy_would_stop_what_gets_in(url: str, tab: Tab) -> None:
    page = tab.open(url)
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.pwned = 1';
            const image = document.createElement('div');
            image.innerHTML = '<img src=x onerror="window.pwned = 2">';
            document.body.append(script, image);
            fetch('http://127.0.0.1:9/').catch(() => { window.asked = 'refused'; });
        }"""
    )
    tab.until("window.asked === 'refused'")
    assert page.evaluate("window.pwned") is None
    assert all("Content Security Policy" in fault or "ERR_FILE_NOT_FOUND" in fault for fault in tab.faults)
    assert len(tab.faults) >= 3
    tab.faults.clear()


def test_only_what_is_in_the_window_is_drawn(in_tmp: Path, tab: Tab) -> None:
    write_task(in_tmp, rows=200)
    run_words(modes=["direct"], limit=200)
    page = tab.open(written("run"))
    assert count(page) == "200 of 200" and len(listed(page)) < 30
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    tab.until("document.querySelector('#list .item:last-child h3 a').textContent === 'words s99'")
    assert len(listed(page)) < 30 and listed(page) == sorted(listed(page))
    page.keyboard.press("j")
    assert current(page) == "words s10"  # by id: s1, s10, s100, ...


def test_a_phone(url: str, tab: Tab) -> None:
    page = tab.open(url, PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    assert not page.is_visible("#detail")
    page.click("#list .item >> nth=2")
    assert page.is_visible("#detail") and "words s3" in page.inner_text("#detail h3")
    page.click("#detail .close")
    assert not page.is_visible("#detail")
    page.click("#list .item >> nth=4")
    page.keyboard.press("Escape")
    assert not page.is_visible("#detail")


def test_pictures_that_are_gone_are_said_to_be(url: str, tab: Tab) -> None:
    shutil.rmtree("run/images")
    page = tab.open(written("run"))
    assert "24 pictures are not there any more" in page.inner_text("main")
    assert (
        "the picture's file is gone" in page.text_content("#list")
        and page.evaluate("document.images.length") == 0
    )


def test_an_embedded_page_needs_no_folder(url: str, tab: Tab) -> None:
    written("run", output="alone.html", embed=True)
    Path("elsewhere").mkdir()
    shutil.move("alone.html", "elsewhere/page.html")
    shutil.rmtree("run")
    page = tab.open(f"{Path('elsewhere/page.html').resolve().as_uri()}#samples")
    page.mouse.wheel(0, 5000)
    tab.until("document.images.length && [...document.images].every(image => image.naturalWidth)")
    assert [asked for asked in tab.requests if not asked.startswith("data:")] == [
        Path("elsewhere/page.html").resolve().as_uri()
    ]


def test_two_runs_stand_side_by_side_what_changed_first(tab: Tab) -> None:
    two_runs()
    page = tab.open(written("before", "after", output="both.html"))
    assert page.input_value("[name=sort]") == "flip"
    changed = page.locator("#list .item .badge").count()
    assert changed > 0
    page.select_option("[name=flip]", "gained")
    gained = listed(page)
    assert 0 < len(gained) < 6
    page.click("[type=reset]")
    assert set(listed(page)[: len(gained)]) >= set(gained)
    text = page.inner_text("#detail")
    assert "direct, run A (before)" in text and "direct, run B (after)" in text


def test_dark_and_light(url: str, tab: Tab) -> None:
    page = tab.open(url)
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.click("#theme")
    dark = page.evaluate(colour)
    assert light == "rgb(255, 255, 255)" and dark != light
    page.reload()
    assert page.evaluate(colour) == dark
