"""The page: nothing in it runs but its own script, whatever models and judges say."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.support_report import ALL, HOSTILE, hostile_run, two_runs
from tests.support_run import by_sample, run_words
from tests.support_run import plugins as plugins
from tests.support_run import words as words
from unisandbox.errors import RunFolderError
from unisandbox.report.page import write_report

pytestmark = pytest.mark.usefixtures("words")


class Page(HTMLParser):
    """What a browser would make of a page: tags, attributes, texts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self._open = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag in self.inside:
            self._open = tag
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = "" if tag == self._open else self._open

    def handle_data(self, data: str) -> None:
        if self._open:
            self.inside[self._open][-1] += data
        else:
            self.words.append(data)

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.inside["script"][0])
        return found

    @property
    def policy(self) -> str:
        return next(a["content"] for t, a in self.tags if a.get("http-equiv") == "Content-Security-Policy")

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


def test_hostile_words_stay_words() -> None:
    page = Page(write_report([hostile_run()]))
    assert [(t, a.get("type", "")) for t, a in page.tags if t == "script"] == [
        ("script", "application/json"), ("script", ""),
    ]  # fmt: skip
    assert not [(t, a) for t, a in page.tags if any(name.startswith("on") or name == "style" for name in a)]
    assert not [t for t, _ in page.tags if t in ("img", "iframe", "object", "base")]
    assert [a for t, a in page.tags if t == "link"] == [{"rel": "icon", "href": "data:,"}]
    (item, *_) = page.data["items"]
    for answer in item["answers"]:
        assert (answer["prompt"], answer["target"]) == (HOSTILE, HOSTILE)
        (said,) = answer["opinions"]
        assert said["reason"] == said["observed"] == said["raw"][0] == HOSTILE
    assert item["answers"][1]["thought"] == HOSTILE and item["answers"][2]["text"] == HOSTILE
    assert "{{ 7 * 6 }}" in page.text and "window.pwned" in page.text  # in the settings, as words


def test_the_policy_allows_the_own_script_and_style_only() -> None:
    run_words()
    page = Page(write_report([Path("run")]))
    digests = re.findall(r"'sha256-([^']+)'", page.policy)
    own = [page.inside["script"][1], page.inside["style"][0]]
    assert digests == [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in own]
    assert page.policy.startswith("default-src 'none'; ") and "connect-src 'none'" in page.policy
    assert "unsafe" not in page.policy and "http" not in page.policy
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|https?:", own[0])


def test_it_says_what_the_terminal_says() -> None:
    run_words(modes=ALL, models=["painter:right=0.5", "mute"])
    text = Page(write_report([Path("run")])).text
    assert "not supported: the model does not: writes text" in text
    assert "The gap" in text and "Why direct pictures failed" in text and "painter:right=0.5 on words" in text
    assert "What thinking first changes" in text and "numpy" in text and "fingerprint" in text
    assert "not finished" not in text and "Judges and a person" not in text


def test_two_judges_are_held_against_each_other() -> None:
    run_words(modes=["direct"], judges=["reader:batch=1", "reader:batch=2"])
    text = Page(write_report([Path("run")])).text
    assert "How far judges agree" in text and "reader:batch=1, reader:batch=2" in text


def test_a_run_of_words_alone_has_no_causes() -> None:
    run_words()
    text = Page(write_report([Path("run")])).text
    assert "Why direct pictures failed" not in text and "1.00" in text


def test_pictures_are_linked_from_wherever_the_page_lies() -> None:
    run_words(modes=["direct"], out="runs/night run")
    folder = Path("runs/night run")
    assert Page(write_report([folder])).data["runs"] == [{"name": "night run", "base": "images/"}]
    Path("pages").mkdir()
    page = Page(write_report([folder], Path("pages/x.html")))
    assert page.data["runs"][0]["base"] == "../runs/night%20run/images/"
    image = page.data["items"][0]["answers"][0]["image"]
    assert (Path("pages/../runs/night run/images") / image).is_file() and page.data["pictures"] == {}


def test_embedded_pictures_are_the_files() -> None:
    run_words(modes=["direct"])
    lost = by_sample("generations.jsonl")["s2"]["image"]
    Path("run/images", lost).unlink()
    page = Page(write_report([Path("run")], Path("all.html"), embed=True))
    assert len(page.data["pictures"]) == 5 and lost not in page.data["pictures"]
    for name, url in page.data["pictures"].items():
        assert (
            base64.b64decode(url.removeprefix("data:image/png;base64,"))
            == Path("run/images", name).read_bytes()
        )
    assert "1 picture is not there any more" in page.text


def test_the_same_run_gives_the_same_bytes() -> None:
    run_words(modes=ALL)
    first = write_report([Path("run")]).read_bytes()
    assert write_report([Path("run")]).read_bytes() == first


def test_several_runs() -> None:
    page = Page(write_report(list(two_runs()), Path("both.html")))
    assert [run["base"] for run in page.data["runs"]] == ["before/images/", "after/images/"]
    assert "From before to after" in page.text and "thinking first" not in page.text


def test_an_unfinished_run_says_so() -> None:
    run_words(modes=["direct"])
    Path("run/results.json").unlink()
    Path("run/verdicts.jsonl").write_text("")
    text = Page(write_report([Path("run")])).text
    assert "run is not finished: this is what is there so far. To go on: unisandbox resume run" in text


def test_a_page_that_cannot_be_written() -> None:
    run_words()
    with pytest.raises(
        RunFolderError, match=r"nowhere/x.html cannot be written: No such file or directory. Name"
    ):
        write_report([Path("run")], Path("nowhere/x.html"))
