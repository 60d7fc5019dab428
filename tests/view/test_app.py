"""The viewer's server: it shows what is there, keeps labels, and answers this machine's own pages only."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support_report import hostile_run
from tests.support_run import plugins as plugins
from tests.support_run import run_words
from tests.support_run import words as words
from tests.support_view import ask, serving
from unisandbox.labels import questions, read_labels

RUN = Path("runs/one")


@pytest.fixture
def port(words: Path) -> Iterator[int]:
    """Serve two runs."""
    for name, right in (("one", 0.4), ("other", 0.9)):
        run_words(modes=["direct", "answer"], models=f"painter:right={right}", out=f"runs/{name}")
    with serving(Path("runs")) as found:
        yield found


def test_runs_are_listed_with_their_progress(port: int) -> None:
    status, text, headers = ask(port, "/")
    assert status == 200 and "Runs" in text and "Content-Security-Policy" in text
    assert headers["cache-control"] == "no-store" and headers["x-content-type-options"] == "nosniff"
    found = json.loads(ask(port, "/runs.json")[1])
    assert {(one["name"], one["asked"], one["state"]) for one in found} == {
        ("one", 12, "finished"), ("other", 12, "finished"),
    }  # fmt: skip


def test_reports_comparisons_and_pictures(port: int) -> None:
    status, text, _ = ask(port, "/run/one/")
    assert status == 200 and '"base":"images/"' in text and "painter:right=0.4" in text
    image = next((RUN / "images").iterdir())
    status, _, headers = ask(port, f"/run/one/images/{image.name}")
    assert (status, headers["content-type"]) == (200, "image/png")
    assert int(headers["content-length"]) == image.stat().st_size
    status, text, _ = ask(port, "/compare?run=one&run=other")
    assert status == 200 and "From one to other" in text and '"base":"/run/other/images/"' in text


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/run/gone/", 404, "There is no run 'gone'"),
        ("/run/../../etc/", 404, ""),
        ("/run/%2e%2e/", 404, "There is no run '..'"),
        ("/run/one/images/..%2frun.json", 404, ""),
        ("/run/one/images/run.json", 404, "There is no such picture."),
        ("/run/one/images/nothing.png", 404, "There is no such picture."),
        ("/compare?run=one", 400, "Which runs?"),
        ("/compare?run=one&run=gone", 404, "There is no run 'gone'"),
        ("/label/gone/", 404, "There is no run 'gone'"),
    ],
)
def test_what_is_not_there(path: str, status: int, says: str, port: int) -> None:
    found, text, _ = ask(port, path)
    assert found == status and says in text and "Traceback" not in text


def test_a_run_that_cannot_be_read_says_why(port: int) -> None:
    about = json.loads((RUN / "run.json").read_text())
    (RUN / "run.json").write_text(json.dumps({**about, "format": 7}))
    status, text, _ = ask(port, "/run/one/")
    assert status == 400 and "written in log format 7, this version reads 1" in text


def test_labels_are_kept_at_once(port: int) -> None:
    first, second, *_ = questions(RUN)
    status, page, _ = ask(port, "/label/one/")
    assert status == 200 and first.id in page
    asked = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert all(set(one) == {"id", "image", "rubric", "target"} for one in asked["questions"])  # blind
    assert ask(port, "/label/one/labels", {"id": first.id, "label": "yes"})[0] == 200
    assert ask(port, "/label/one/labels", {"id": second.id, "label": "no"})[0] == 200
    assert read_labels(RUN) == {first.id: "yes", second.id: "no"}
    assert read_labels(Path("runs/other")) == {}
    (judge,) = json.loads(ask(port, "/label/one/agreement")[1])
    assert (judge["judge"], judge["n"]) == ("reader", 2)
    assert ask(port, "/label/one/export", {})[0] == 200
    assert (RUN / "calibrate.jsonl").read_text().count("\n") == 2
    assert {one["name"]: one["labels"] for one in json.loads(ask(port, "/runs.json")[1])}["one"] == 2
    assert "Judges and a person" in ask(port, "/run/one/")[1]


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"id": "nobody", "label": "yes"}, 404, "There is no such picture to label"),
        ({"label": "yes"}, 404, "There is no such picture to label"),
        ([], 400, "Expected a JSON object."),
        ("{", 400, "Expected a JSON object."),
    ],
)
def test_labels_that_cannot_be_meant(body: object, status: int, says: str, port: int) -> None:
    found, text, _ = ask(port, "/label/one/labels", body)
    assert (found, text) == (status, text) and says in text
    found, text, _ = ask(port, "/label/one/labels", {"id": questions(RUN)[0].id, "label": "maybe"})
    assert found == 400 and text == "error: The label is 'maybe', expected one of yes, no, unsure."
    assert not (RUN / "labels.jsonl").exists()


def test_other_names_for_this_machine_are_refused(port: int) -> None:
    for host in ("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", ""):
        assert ask(port, "/", Host=host)[0] == 400
    assert ask(port, "/", Host=f"localhost:{port}")[0] == 200


def test_other_pages_cannot_write(port: int) -> None:
    label = {"id": questions(RUN)[0].id, "label": "yes"}
    for headers in (
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{port + 1}"},
        {"Content_Type": "text/plain"},
    ):
        assert ask(port, "/label/one/labels", label, **headers)[0] == 403
    assert ask(port, "/label/one/labels", method="POST")[0] == 403
    assert not (RUN / "labels.jsonl").exists()
    assert ask(port, "/label/one/labels", label, Origin=f"http://127.0.0.1:{port}")[0] == 200


def test_hostile_words_stay_words(words: Path) -> None:
    hostile_run("runs/bad")
    with serving(Path("runs")) as port:
        for path in ("/run/bad/", "/label/bad/", "/"):
            status, text, _ = ask(port, path)
            assert status == 200 and "<script>window" not in text and "<img" not in text
