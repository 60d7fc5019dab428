"""The matrix: what is named becomes cells and trials, and what does not fit is refused with the way out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support_tasks import ROWS, changed, make_task, read_task, write_task
from unisandbox.errors import UsageError
from unisandbox.matrix import Ask, Matrix, resolve
from unisandbox.modes import MODES
from unisandbox.plugins import JudgeEntry, ModelEntry, Plugins, installed
from unisandbox.task import Task

ALL_MODES = {name: "Draw: {{ question }}" for name in MODES if name != "refined"} | {
    "refined": "{{ conclusion }}"
}


def model(name: str, does: str, draws: str = "any") -> ModelEntry:
    return ModelEntry(name, "none:none", "test", "", tuple(does.split()), draws, False)


def judge(name: str, reads: str, default_for: str = "") -> JudgeEntry:
    return JudgeEntry(name, "none:none", "test", "", tuple(reads.split()), tuple(default_for.split()))


MODELS = [
    model("full", "image text think see", "sandbox"),
    model("painter", "image"),
    model("talker", "image text", "sandbox"),
    model("reader", "text see"),
]
JUDGES = [
    judge("rules", "text", "text"),
    judge("exact", "sandbox", "sandbox"),
    judge("eye", "any"),
    judge("both", "any text"),
]


def plugins(judges: Sequence[JudgeEntry] = JUDGES) -> Plugins:
    found = Plugins()
    for entry in MODELS:
        found.models.add(entry)
    for each in judges:
        found.judges.add(each)
    return found


@pytest.fixture
def task(in_tmp: Path) -> Task:
    """A task that offers every mode."""
    return make_task(in_tmp, changed("prompts", ALL_MODES))


def matrix(
    *tasks: Task,
    models: str = "full",
    judges: str = "",
    modes: str = "direct",
    seed: int = 0,
    repeats: int = 1,
    limit: int | None = None,
    among: Plugins | None = None,
) -> Matrix:
    return resolve(
        tasks,
        among or plugins(),
        models=models.split(),
        judges=judges.split(),
        modes=modes.split(),
        seed=seed,
        repeats=repeats,
        limit=limit,
    )


def refused(*tasks: Task, **options: Any) -> str:
    with pytest.raises(UsageError) as caught:
        matrix(*tasks, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cells(found: Matrix) -> list[tuple[str, str, str]]:
    return [(ask.mode.name, ask.model.label, judge.label) for ask, judge in found.cells()]


def trials(ask: Ask) -> list[tuple[str, int, str, int]]:
    each = [ask.trial(index) for index in range(ask.trials)]
    return [(trial.sample.id, trial.repeat, trial.key, trial.seed) for trial in each]


def keys(found: Matrix) -> set[str]:
    return {key for ask in found.asks for _, _, key, _ in trials(ask)}


def seeds(found: Matrix) -> list[list[int]]:
    return [[seed for *_, seed in trials(ask)] for ask in found.asks]


# --- modes ---


def test_modes_are_asked_in_their_own_order(task: Task) -> None:
    found = matrix(task, modes="render answer direct")
    assert [ask.mode.name for ask in found.asks] == ["direct", "answer", "render"]
    found = matrix(task, modes="render,direct answer,")
    assert [ask.mode.name for ask in found.asks] == ["direct", "answer", "render"]


@pytest.mark.parametrize("modes", ["all", "direct all"])
def test_all_means_every_mode(task: Task, modes: str) -> None:
    found = matrix(task, modes=modes)
    assert [ask.mode.name for ask in found.asks] == list(MODES)
    assert found.added == ()


@pytest.mark.parametrize(
    ("modes", "asked", "added"),
    [
        ("refined", ["cot", "refined"], ("cot",)),
        ("caption", ["direct", "caption"], ("direct",)),
        ("caption refined", ["direct", "cot", "refined", "caption"], ("direct", "cot")),
        ("cot refined", ["cot", "refined"], ()),
    ],
)
def test_modes_that_others_are_made_from_are_added_and_told(
    task: Task, modes: str, asked: list[str], added: tuple[str, ...]
) -> None:
    found = matrix(task, modes=modes)
    assert [ask.mode.name for ask in found.asks] == asked
    assert set(found.added) == set(added)


def test_an_unknown_mode_is_told_the_nearest(task: Task) -> None:
    assert refused(task, modes="dirct").startswith(
        "Unknown mode 'dirct'. Did you mean 'direct'? Known: all, "
    )
    assert refused(task, modes=",").startswith("No mode is named. Modes: direct, cot,")


def test_a_mode_that_a_task_does_not_offer_is_not_asked(in_tmp: Path, task: Task) -> None:
    (in_tmp / "sub").mkdir()
    small = read_task(write_task(in_tmp / "sub", name="small"))
    found = matrix(task, small, modes="direct answer")
    assert [(ask.task.name, ask.mode.name) for ask in found.asks] == [
        ("counting", "direct"),
        ("counting", "answer"),
        ("small", "direct"),
    ]
    assert found.unsupported == ()
    assert refused(small, modes="answer") == "None of the tasks offers the modes answer. They offer: direct."


@pytest.mark.parametrize(
    ("name", "gaps"),
    [
        ("full", {}),
        ("talker", {"caption": "takes pictures in"}),
        (
            "painter:draws=sandbox",
            {
                "cot": "thinks natively before it answers",
                "answer": "writes text",
                "recall": "writes text",
                "refined": "thinks natively before it answers",
                "caption": "takes pictures in, writes text",
            },
        ),
        (
            "reader",
            dict.fromkeys(
                ("direct", "cot", "render", "refined", "gold", "planted", "caption"), "draws pictures"
            ),
        ),
    ],
)
def test_modes_a_model_cannot_do_are_reported_and_not_asked(
    task: Task, name: str, gaps: dict[str, str]
) -> None:
    found = matrix(task, models=name, modes="all")
    assert {gap.mode: gap.reason for gap in found.unsupported} == {
        mode: f"the model does not: {what}" for mode, what in gaps.items()
    }
    assert {gap.model for gap in found.unsupported} <= {name}
    assert [ask.mode.name for ask in found.asks] == [mode for mode in MODES if mode not in gaps]


def test_a_mode_is_only_asked_with_the_one_it_is_made_from(task: Task) -> None:
    for name in ("full", "talker", "painter:draws=sandbox", "reader"):
        asked = {ask.mode.name for ask in matrix(task, models=name, modes="all").asks}
        assert all(MODES[mode].after in {*asked, None} for mode in asked)


def test_a_run_with_nothing_to_ask_is_refused(task: Task) -> None:
    assert refused(task, models="painter", modes="answer") == (
        "Nothing to ask: 'painter': the model does not: writes text."
    )


# --- models and judges ---


def test_models_and_judges_are_named_with_their_options(task: Task) -> None:
    found = matrix(task, models="full full:b=2,a=1 full:a=1,b=2", judges="eye exact:x=1")
    assert [model.label for model in found.models] == ["full", "full:a=1,b=2"]
    assert [judge.label for judge in found.judges] == ["eye", "exact:x=1"]
    assert len(list(found.cells())) == 4
    assert found.tasks == (task,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": "ful"}, "Unknown model 'ful'. Did you mean 'full'?"),
        ({"models": "full:a"}, "'full:a': 'a' is no option."),
        ({"models": "full:draws=photos"}, "'full:draws=photos': draws=photos: expected sandbox or any."),
        ({"judges": "exakt"}, "Unknown judge 'exakt'. Did you mean 'exact'?"),
    ],
)
def test_names_that_mean_nothing_are_refused(task: Task, options: dict[str, str], message: str) -> None:
    assert message in refused(task, **options)


def test_secrets_stay_out_of_labels_keys_and_descriptions(task: Task) -> None:
    found = matrix(task, models="full:api_key=s3cr3t,url=u", judges="exact:token=s3cr3t")
    assert found.models[0].label == "full:api_key=***,url=u"
    assert found.models[0].spec.options["api_key"] == "s3cr3t"
    assert "s3cr3t" not in str(found.describe())
    assert keys(found) == keys(matrix(task, models="full:api_key=another,url=u"))


@pytest.mark.parametrize(
    ("models", "judges", "modes", "expected"),
    [
        ("full", "", "direct answer", [("direct", "exact"), ("answer", "rules")]),
        ("full", "exact", "direct answer", [("direct", "exact"), ("answer", "rules")]),
        ("full", "rules exact", "direct answer", [("direct", "exact"), ("answer", "rules")]),
        ("full", "eye", "direct answer", [("direct", "eye"), ("answer", "rules")]),
        ("full", "eye exact", "direct", [("direct", "eye"), ("direct", "exact")]),
        ("full", "both", "direct answer", [("direct", "both"), ("answer", "both")]),
        ("full", "rules", "answer", [("answer", "rules")]),
        ("painter", "eye", "direct", [("direct", "eye")]),
        ("painter:draws=sandbox", "", "direct", [("direct", "exact")]),
        ("painter:draws=sandbox", "exact", "direct", [("direct", "exact")]),
    ],
)
def test_each_mode_is_judged_by_what_reads_its_answers(
    task: Task, models: str, judges: str, modes: str, expected: list[tuple[str, str]]
) -> None:
    found = cells(matrix(task, models=models, judges=judges, modes=modes))
    assert [(mode, judge) for mode, _, judge in found] == expected


def test_a_judge_that_cannot_read_a_models_pictures_is_refused_with_one_that_can(task: Task) -> None:
    assert refused(task, models="painter", judges="exact") == (
        "The judge 'exact' reads sandbox only, but 'painter' draws pictures of any kind: "
        "every picture would be rejected. Use --judges both or eye."
    )
    assert refused(task, models="full:draws=any", judges="exact").endswith("Use --judges both or eye.")
    assert refused(task, models="painter", judges="eye exact").startswith(
        "The judge 'exact' reads sandbox only"
    )
    only = plugins([judge("exact", "sandbox")])
    assert refused(task, models="painter", judges="exact", among=only).endswith(
        "No installed judge reads them."
    )


def test_a_model_whose_pictures_nobody_reads_by_default_is_told_whom_to_name(task: Task) -> None:
    message = refused(task, models="painter")
    assert "No judge is the default for the pictures of 'painter' (not the sandbox's own)." in message
    assert "Name one: --judges both or eye." in message
    assert "draws=sandbox" in message


def test_a_judge_of_words_does_not_judge_pictures(task: Task) -> None:
    assert "The judge 'rules' reads text only" in refused(task, judges="rules", modes="direct")


def test_two_defaults_are_refused_by_name(task: Task) -> None:
    two = plugins([*JUDGES, judge("also", "sandbox", "sandbox")])
    with pytest.raises(UsageError, match=r"'also' .* and 'exact' .* are both the default.*--judges"):
        matrix(task, among=two)
    assert cells(matrix(task, among=two, judges="exact")) == [("direct", "full", "exact")]


# --- samples and trials ---


def test_a_limit_counts_units_and_keeps_them_whole(in_tmp: Path) -> None:
    rows = [{**ROWS[0], "id": f"{pair}{side}", "pair": pair} for side in "ab" for pair in ("p", "q", "r")]
    task = make_task(in_tmp, changed("scoring.unit", "pair"), rows)
    (ask,) = matrix(task, limit=2).asks
    assert [sample.id for sample in ask.samples] == ["pa", "qa", "pb", "qb"]
    assert (ask.units, list(ask.unit_of), ask.trials) == (2, [0, 1, 0, 1], 4)
    assert matrix(task, limit=99).asks[0].units == matrix(task).asks[0].units == 3


def test_repeats_of_a_sample_stand_side_by_side(task: Task) -> None:
    (ask,) = matrix(task, repeats=2, limit=2).asks
    assert [(id_, repeat) for id_, repeat, *_ in trials(ask)] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    assert [ask.trial(index).index for index in range(ask.trials)] == [0, 1, 2, 3]


def test_keys_are_unique_in_a_run(task: Task) -> None:
    found = matrix(task, models="full full:a=1 talker", modes="all", repeats=3)
    assert len(keys(found)) == sum(ask.trials for ask in found.asks)


def test_a_key_is_that_of_the_trial_and_not_of_the_run(task: Task) -> None:
    alone = matrix(task, limit=1)
    among = matrix(task, models="talker full", modes="all", repeats=4, judges="eye")
    assert keys(alone) < keys(among)
    assert trials(alone.asks[0]) == trials(matrix(task, limit=1).asks[0])


@pytest.mark.parametrize(
    "options", [{"models": "talker"}, {"models": "full:a=1"}, {"modes": "render"}, {"seed": 1}]
)
def test_a_key_depends_on_model_options_mode_and_seed(task: Task, options: dict[str, Any]) -> None:
    assert not keys(matrix(task)) & keys(matrix(task, **options))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("prompts.direct", "Draw! {{ question }}"),
        ("scoring.target.count", "{{ count + 1 }}"),
        ("scoring.unit", "pair"),
    ],
)
def test_a_key_depends_on_what_the_task_asks_and_wants(
    in_tmp: Path, task: Task, path: str, value: str
) -> None:
    before = keys(matrix(task))
    assert not before & keys(matrix(make_task(in_tmp, changed(path, value, changed("prompts", ALL_MODES)))))
    assert before == keys(matrix(make_task(in_tmp, changed("prompts", ALL_MODES))))


def test_seeds_are_those_of_the_sample_whatever_the_mode_and_the_model(task: Task) -> None:
    found = seeds(matrix(task, models="full talker:x=1", modes="direct answer gold", repeats=2))
    assert len(found) == 6
    assert all(each == found[0] for each in found)
    assert len(set(found[0])) == len(found[0])
    assert all(0 <= seed < 2**31 for seed in found[0])


def test_seeds_differ_between_tasks_and_runs(in_tmp: Path, task: Task) -> None:
    path = write_task(in_tmp, changed("prompts", ALL_MODES), name="other")
    other = read_task(path)
    assert not set(seeds(matrix(task))[0]) & set(seeds(matrix(other))[0])
    assert not set(seeds(matrix(task))[0]) & set(seeds(matrix(task, seed=1))[0])


def test_seeds_do_not_depend_on_the_words_of_a_prompt(in_tmp: Path, task: Task) -> None:
    before = seeds(matrix(task))
    assert seeds(matrix(make_task(in_tmp, changed("prompts.direct", "Other: {{ question }}")))) == before


def test_seeds_are_the_same_on_every_machine(task: Task) -> None:
    """Other seeds would give other pictures for every run there is."""
    assert seeds(matrix(task, seed=7, limit=1)) == [[1282341492]]


def test_chance_is_that_of_the_samples_asked(task: Task) -> None:
    assert matrix(task, limit=1).asks[0].chance.score == 1.0
    assert matrix(task).asks[0].chance.score == pytest.approx(1 / 3)


# --- what must agree for a run to go on ---


def test_the_description_holds_what_must_agree(task: Task) -> None:
    said = matrix(task, modes="direct answer", seed=3, repeats=2, limit=1).describe()
    assert said["tasks"] == {"counting": {"fingerprint": task.fingerprint, "dataset": {"path": "rows.jsonl"}}}
    assert (said["modes"], said["models"]) == (["answer", "direct"], ["full"])
    assert said["judges"] == ["exact", "rules"]
    assert (said["seed"], said["repeats"], said["limit"]) == (3, 2, 1)
    assert list(said["rubrics"]) == ["object_count"]


def test_every_rubric_that_rows_name_is_described(in_tmp: Path) -> None:
    data = changed("scoring", {"rubric": "{{ rubric }}", "target": "{{ target }}"})
    rows = [
        {"id": "a", "question": "?", "rubric": "object_count", "target": {"count": 1, "object": "cup"}},
        {"id": "b", "question": "?", "rubric": "object_identity", "target": {"object": "cup"}},
    ]
    task = make_task(in_tmp, data, rows)
    assert list(matrix(task).describe()["rubrics"]) == ["object_count", "object_identity"]


def test_what_ships_fits_together() -> None:
    found = installed()
    assert {name for each in found.judges.values() for name in each.default_for} >= {"text", "sandbox"}
