"""The weights that ship do what ``docs/tiny.md`` says of them, here on a part of the test split."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from unisandbox.api import run
from unisandbox.backend import TrainSpec
from unisandbox.cli import main
from unisandbox.model_backends.tiny import checkpoint, patches, words
from unisandbox.model_backends.tiny.checkpoint import Model
from unisandbox.model_backends.tiny.documents import Material, vocabulary_texts
from unisandbox.model_backends.tiny.factory import WEIGHTS
from unisandbox.model_backends.tiny.train import Recipe, teaching
from unisandbox.training.injection import lessons

UNITS = 40
MODES = ("direct", "cot", "render", "answer", "caption", "recall")
MATH = ("math_1", "math_2", "math_3")
MAPPING = ("mapping_1", "mapping_2", "mapping_3")
KNOWLEDGE = ("forward_retrieval", "inverse_search")


@dataclass(frozen=True)
class Found:
    """What a run over part of every task gave."""

    scores: dict[tuple[str, str], float]
    guesses: dict[str, float]
    direct: Counter[tuple[str, str]]
    """How many direct pictures had which outcome, by task."""

    def of(self, mode: str, tasks: tuple[str, ...]) -> float:
        """Return the mean score of a mode over tasks."""
        return sum(self.scores[task, mode] for task in tasks) / len(tasks)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    out = tmp_path_factory.mktemp("shipped") / "run"
    results = run(tasks=(*MATH, *MAPPING, *KNOWLEDGE), models="tiny", modes=MODES, limit=UNITS, out=out)
    assert results.coverage == 1
    cells = [cell for cell in results.cells if cell.supported]
    return Found(
        {(cell.task, cell.mode): cell.score.value or 0.0 for cell in cells},
        {cell.task: cell.chance for cell in cells if cell.mode == "direct"},
        Counter(
            {
                (cell.task, outcome): count
                for cell in cells
                if cell.mode == "direct"
                for outcome, count in cell.score.outcomes.items()
            }
        ),
    )


# Bounds are what was measured on 250 units a task, less about what 40 units can miss it by.


def test_it_draws_resolved_prompts(found: Found) -> None:
    assert found.of("render", MATH) >= 0.9
    assert found.of("render", MAPPING) >= 0.9
    assert found.of("render", KNOWLEDGE) >= 0.9


def test_it_reads_its_own_pictures(found: Found) -> None:
    """A caption is right where the picture was, so it is held against the direct score."""
    for task in (*MATH, *MAPPING):
        assert found.scores[task, "caption"] == pytest.approx(found.scores[task, "direct"], abs=0.2)


def test_thinking_reaches_the_picture(found: Found) -> None:
    assert found.of("cot", MATH) >= 0.85
    assert found.of("cot", MAPPING) >= 0.9


@pytest.mark.parametrize("task", [*MATH, *MAPPING])
def test_a_direct_picture_is_well_formed(found: Found, task: str) -> None:
    made = sum(count for (name, _), count in found.direct.items() if name == task)
    assert found.direct[task, "rejected"] <= 0.15 * made


def test_most_direct_pictures_of_people_show_a_person(found: Found) -> None:
    made = sum(count for (name, _), count in found.direct.items() if name == "inverse_search")
    assert found.direct["inverse_search", "rejected"] <= 0.45 * made


GAPS = (*MATH, "mapping_2", "mapping_3")
"""The object that one rule leads to reaches most direct pictures; how many, or more rules, do not."""


@pytest.mark.parametrize("task", GAPS)
def test_a_direct_picture_is_not_better_than_guessing(found: Found, task: str) -> None:
    assert found.scores[task, "direct"] <= found.guesses[task] + 0.2


@pytest.mark.parametrize("task", GAPS)
def test_the_gap_is_there(found: Found, task: str) -> None:
    assert found.scores[task, "cot"] >= found.scores[task, "direct"] + 0.3


def test_an_object_that_one_rule_leads_to_reaches_the_picture(found: Found) -> None:
    assert found.scores["mapping_1", "direct"] >= found.guesses["mapping_1"] + 0.1


def test_what_was_taught_is_known_and_reaches_pictures_by_thinking_alone(found: Found) -> None:
    assert found.scores["forward_retrieval", "cot"] >= 0.85
    assert found.scores["forward_retrieval", "recall"] >= 0.8
    assert found.scores["forward_retrieval", "direct"] <= 0.25


# --- the files ---


@pytest.fixture(params=["base", "injected"])
def model(request: pytest.FixtureRequest) -> Model:
    return checkpoint.load(WEIGHTS / f"{request.param}.safetensors")


def test_a_file_is_small_enough_to_ship() -> None:
    files = list(WEIGHTS.glob("*.safetensors"))
    assert len(files) == 2
    for path in files:
        assert path.stat().st_size < 10e6, path.name


def test_the_codebook_is_the_one_the_code_makes(model: Model) -> None:
    assert (model.patches.codes == patches.learned().codes).all()


def test_the_vocabulary_is_the_one_the_code_makes() -> None:
    material = Material(rows=Recipe().rows)
    known = checkpoint.load(WEIGHTS / "base.safetensors").words.known
    assert words.learned(vocabulary_texts(material), material.names).known == known


def test_the_recipe_is_the_one_the_code_has() -> None:
    for name, plain in (("base", Recipe()), ("injected", teaching(lessons(), TrainSpec()))):
        told = Recipe(**checkpoint.load(WEIGHTS / f"{name}.safetensors").notes["recipe"])
        assert replace(told, precision=plain.precision) == plain


# --- as a user meets it ---


@pytest.fixture
def quiet(in_tmp: Path) -> Iterator[Path]:
    yield in_tmp


def test_it_is_what_runs_without_a_name(quiet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--tasks", "math_1", "--limit", "3", "--out", "run", "--quiet"]) == 0
    assert "tiny" in (quiet / "run" / "run.json").read_text()
    assert (
        main(["run", "--tasks", "math_1", "--limit", "3", "--out", "other", "--models", "tiny:varaint=base"])
        == 2
    )
    assert "Did you mean 'variant'?" in capsys.readouterr().err
