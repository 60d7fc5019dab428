"""Task files: what is meant is read, and every mistake is named with file, line and key before a run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support_tasks import ROWS, TASK, changed, make_task, read_task, write_task
from unisandbox.errors import DataError, TaskFileError, UnisandboxError
from unisandbox.guesses import Guess
from unisandbox.task import Task, with_options


def complaint(folder: Path, data: Any, rows: Any = ROWS) -> str:
    """Return what is said of a task that does not validate."""
    with pytest.raises(UnisandboxError) as caught:
        make_task(folder, data, rows).validate()
    return str(caught.value)


def line_of(folder: Path, words: str) -> int:
    text = (folder / "counting.yaml").read_text().splitlines()
    return next(number for number, line in enumerate(text, 1) if words in line)


# --- what is read ---


def test_a_task_is_its_rows_prompts_and_scoring(in_tmp: Path) -> None:
    task = make_task(in_tmp)
    task.validate()
    assert (task.name, task.family, task.modes, task.source) == ("counting", "counting", ("direct",), "jsonl")
    assert [(sample.id, sample.unit) for sample in task.samples] == [("a", "a"), ("b", "b"), ("c", "c")]
    first = task.samples[0]
    assert task.prompts["direct"].render(first.fields) == ROWS[0]["question"]
    assert task.rubric("direct", first).name == "object_count"
    assert task.target("direct", first) == {"count": 3, "object": "cup"}
    assert task.names("direct", first) == ()


def test_modes_stand_in_their_own_order_whatever_the_file_says(in_tmp: Path) -> None:
    prompts = {
        "caption": "What?",
        "answer": "Say.",
        "cot": "Think.",
        "direct": "Draw.",
        "think": "First think.",
    }
    assert make_task(in_tmp, changed("prompts", prompts)).modes == ("direct", "cot", "answer", "caption")


def test_variants_override_the_dataset_and_nothing_else(in_tmp: Path) -> None:
    (in_tmp / "few.jsonl").write_text((write_task(in_tmp).parent / "rows.jsonl").read_text().splitlines()[0])
    path = write_task(
        in_tmp, changed("variants", {"counting_few": {"path": "few.jsonl"}, "counting_all": None})
    )
    few, all_ = read_task(path, "counting_few"), read_task(path, "counting_all")
    assert (len(few.samples), len(all_.samples)) == (1, 3)
    assert few.family == all_.family == "counting"
    assert few.fingerprint != all_.fingerprint


def test_a_mode_may_be_scored_in_its_own_way(in_tmp: Path) -> None:
    data = changed("prompts.answer", "Which object?")
    data["scoring"]["modes"] = {
        "answer": {"rubric": "name", "target": {"name": "{{ object }}"}, "names": "all"}
    }
    task = make_task(in_tmp, data, [{**row, "all": ["cup", "dog"]} for row in ROWS])
    task.validate()
    sample = task.samples[1]
    assert task.target("direct", sample) == {"count": 2, "object": "dog"}
    assert task.target("answer", sample) == {"name": "dog"}
    assert task.names("answer", sample) == ("cup", "dog")
    assert task.names("direct", sample) == ()


def test_rubrics_and_targets_may_come_from_the_rows(in_tmp: Path) -> None:
    data = changed("scoring", {"rubric": "{{ rubric }}", "target": "{{ target }}"})
    targets: list[dict[str, Any]] = [{"count": "three", "object": "Mugs"}, {"object": "dogs"}]
    rows = [
        {"id": n, "question": "?", "rubric": rubric, "target": target}
        for n, (rubric, target) in enumerate(zip(("object_count", "object_identity"), targets, strict=True))
    ]
    task = make_task(in_tmp, data, rows)
    task.validate()
    assert [task.rubric("direct", sample).name for sample in task.samples] == [
        "object_count",
        "object_identity",
    ]
    assert [task.target("direct", sample) for sample in task.samples] == [
        {"count": 3, "object": "cup"},
        {"object": "dog"},
    ]
    assert task.chance("direct").score == 1.0  # each rubric has one answer here


def test_units_are_named_by_a_field(in_tmp: Path) -> None:
    task = make_task(in_tmp, changed("scoring.unit", "pair"))
    assert [sample.unit for sample in task.samples] == ["p", "p", "q"]


def test_rows_without_an_id_are_numbered(in_tmp: Path) -> None:
    rows = [{key: value for key, value in row.items() if key != "id"} for row in ROWS]
    assert [sample.id for sample in make_task(in_tmp, rows=rows).samples] == ["1", "2", "3"]


def test_chance_is_computed_from_the_samples_asked(in_tmp: Path) -> None:
    task = make_task(in_tmp, changed("scoring.guesses", {"constant": ["object"]}))
    assert task.chance("direct") == Guess("always cup (object)", 0.666666666667)
    assert task.chance("direct", task.samples[1:2]).score == 1.0


def test_synonyms_in_the_rows_do_not_hide_what_guessing_scores(in_tmp: Path) -> None:
    guess = {"constant": [], "among": {"object": "named"}}
    rows = [{**row, "named": ["mugs", "hats", "dogs", "axes"]} for row in ROWS if row["object"] == "cup"]
    assert make_task(in_tmp, changed("scoring.guesses", guess), rows).chance("direct").score == 0.25


def test_the_path_of_a_dataset_counts_from_its_task_file(in_tmp: Path, monkeypatch: Any) -> None:
    path = write_task(in_tmp)
    (in_tmp / "elsewhere").mkdir()
    monkeypatch.chdir(in_tmp / "elsewhere")
    assert len(read_task(path).samples) == 3


def test_options_from_the_command_line_count_from_the_working_directory(in_tmp: Path) -> None:
    (in_tmp / "tasks").mkdir()
    task = make_task(in_tmp / "tasks")
    (in_tmp / "mine.jsonl").write_text('{"id": "z", "question": "?", "count": 1, "object": "cup"}\n')
    changed_task = with_options(task, {"path": "mine.jsonl"})
    assert [sample.id for sample in changed_task.samples] == ["z"]
    assert [sample.id for sample in task.samples] == ["a", "b", "c"]
    with pytest.raises(UnisandboxError, match=r"Unknown option 'pth'. Did you mean 'path'"):
        with_options(task, {"pth": "mine.jsonl"})


# --- fingerprints ---


def test_the_fingerprint_follows_whatever_decides_a_score(in_tmp: Path) -> None:
    variations: list[tuple[Any, Any]] = [
        (TASK, ROWS),
        (TASK, ROWS[:2]),
        (TASK, [{**ROWS[0], "count": 4}, *ROWS[1:]]),
        (TASK, [ROWS[1], ROWS[0], ROWS[2]]),
        (changed("prompts.direct", "{{ question }} "), ROWS),
        (changed("prompts.answer", "{{ question }}"), ROWS),
        (changed("scoring.target.count", "{{ count + 1 }}"), ROWS),
        (changed("scoring.rubric", "object_identity"), ROWS),
        (changed("scoring.unit", "pair"), ROWS),
        (changed("scoring.names", "names"), ROWS),
    ]
    prints = [make_task(in_tmp, data, rows).fingerprint for data, rows in variations]
    assert len(set(prints)) == len(prints)


def test_the_fingerprint_does_not_follow_words_about_the_task(in_tmp: Path) -> None:
    before = make_task(in_tmp).fingerprint
    assert make_task(in_tmp).fingerprint == before
    assert make_task(in_tmp, changed("description", "Other words.")).fingerprint == before
    assert make_task(in_tmp, changed("tags", ["new"])).fingerprint == before
    assert make_task(in_tmp, rows=[dict(reversed(list(row.items()))) for row in ROWS]).fingerprint == before


# --- mistakes in the file ---


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("promts", {}, "promts: Unknown key 'promts'. Did you mean 'prompts'?"),
        ("prompts.dirct", "x", "prompts.dirct: Unknown key 'dirct'. Did you mean 'direct'?"),
        ("scoring.rubrik", "x", "scoring.rubrik: Unknown key 'rubrik'. Did you mean 'rubric'?"),
        (
            "scoring.guesses",
            {"amnog": {}},
            "scoring.guesses.amnog: Unknown key 'amnog'. Did you mean 'among'?",
        ),
        ("description", None, ":1: the key 'description' is missing."),
        ("scoring.target", None, "scoring: the key 'target' is missing."),
        ("scoring.target", 3, "(found 3)."),
        ("prompts.direct", 3, "prompts.direct: input should be a valid string (found 3)."),
        ("prompts.direct", ["a"], "prompts.direct: input should be a valid string (found ['a'])."),
        ("tags", "reasoning", "tags: input should be a valid list (found 'reasoning')."),
        ("dataset", {}, "dataset: dictionary should have at least 1 item"),
        ("dataset.source", None, "dataset: the key 'source' is missing."),
        ("dataset.source", "jsnl", "dataset: task 'counting': Unknown dataset 'jsnl'. Did you mean 'jsonl'?"),
        (
            "dataset.pth",
            "x",
            "dataset: task 'counting': dataset 'jsonl': Unknown option 'pth'. Did you mean 'path'?",
        ),
        (
            "dataset.fields",
            "x",
            "dataset: task 'counting': dataset 'jsonl': option fields='x': ",
        ),
        (
            "variants",
            {"v": {"pth": "x"}},
            "Unknown option 'pth'. Did you mean 'path'? Known: fields, id_field",
        ),
        ("scoring.rubric", "object_cuont", "scoring.rubric: Unknown rubric 'object_cuont'. Did you mean"),
        ("prompts.direct", "{{ question", "prompts.direct: not a valid Jinja template: "),
        ("prompts.refined", "{{ conclusion }}", "prompts.refined: needs a template for 'cot' too."),
        ("prompts.think", "Think.", "prompts.think: needs a template for 'cot' too."),
        ("prompts", {}, "prompts: no mode has a template. Modes: direct, cot, answer,"),
        ("prompts", {"caption": "What?"}, "prompts.caption: needs a template for 'direct' too."),
        ("prompts", {"gold": "Draw: it."}, "prompts.gold: needs a template for 'direct' too."),
        (
            "scoring.modes",
            {"answer": {"rubric": "name", "target": "{{ object }}"}},
            "scoring.modes.answer: Unknown mode of this task 'answer'. Known: direct.",
        ),
        (
            "scoring.modes",
            {"direct": {"rubric": "nmae", "target": "x"}},
            "scoring.modes.direct.rubric: Unknown rubric 'nmae'. Did you mean 'name'?",
        ),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_place(
    in_tmp: Path, path: str, value: Any, message: str
) -> None:
    found = complaint(in_tmp, changed(path, value))
    assert message in found
    assert found.startswith("counting.yaml:")


def test_the_line_is_that_of_the_mistake(in_tmp: Path) -> None:
    found = complaint(in_tmp, changed("scoring.target.cuont", "{{ count }}"))
    assert found.startswith(f"counting.yaml:{line_of(in_tmp, 'scoring:')}: scoring.target (sample a): ")
    found = complaint(in_tmp, changed("prompts.direct", "{{ quesiton }}"))
    assert found.startswith(f"counting.yaml:{line_of(in_tmp, 'direct:')}: prompts.direct: ")


def test_a_key_that_stands_twice_is_refused(in_tmp: Path) -> None:
    text = write_task(in_tmp).read_text() + "description: Again.\n"
    assert "the key 'description' stands twice, first on line 1." in complaint(in_tmp, text)


# --- mistakes that only rows show ---


def test_a_missing_variable_is_named_with_the_ones_there_are(in_tmp: Path) -> None:
    assert complaint(in_tmp, changed("prompts.direct", "Draw {{ quetsion }}")).endswith(
        "prompts.direct: Unknown variable 'quetsion'. Did you mean 'question'? "
        "Known: count, id, object, pair, question."
    )


def test_only_refined_knows_a_conclusion(in_tmp: Path) -> None:
    data = changed(
        "prompts", {"direct": "{{ question }} {{ conclusion }}", "cot": "x", "refined": "{{ conclusion }}"}
    )
    assert "prompts.direct: Unknown variable 'conclusion'." in complaint(in_tmp, data)
    data["prompts"]["direct"] = "{{ question }}"
    make_task(in_tmp, data).validate()


def test_a_misspelt_target_column_is_named(in_tmp: Path) -> None:
    found = complaint(in_tmp, changed("scoring.target.count", "{{ cuont }}"))
    assert (
        f"counting.yaml:{line_of(in_tmp, 'cuont')}: scoring.target.count: Unknown variable 'cuont'" in found
    )
    assert "Did you mean 'count'?" in found


@pytest.mark.parametrize(
    ("target", "key", "meant"),
    [
        ({"count": "cuont", "object": "{{ object }}"}, "count: cuont", "did you mean '{{ count }}'?"),
        ({"count": "{{ count }}", "object": "objects"}, "object: objects", "did you mean '{{ object }}'?"),
        ({"count": "count", "object": "object"}, "count: count", "did you mean '{{ count }}'?"),
        ({"count": 3, "object": "cup"}, "count: 3", "Fields: id, question, count, object, pair."),
        ("question", "target: question", "did you mean '{{ question }}'?"),
        ("everything", "target: everything", "Fields: id, question,"),
    ],
)
def test_a_field_named_without_braces_is_no_target(in_tmp: Path, target: Any, key: str, meant: str) -> None:
    found = complaint(in_tmp, changed("scoring.target", target))
    place = "scoring.target" if isinstance(target, str) else f"scoring.target.{key.split(':')[0]}"
    assert found.startswith(f"counting.yaml:{line_of(in_tmp, key)}: {place}: the right answer would be ")
    assert meant in found


def test_a_bare_word_in_one_modes_target_is_found_too(in_tmp: Path) -> None:
    data = changed("prompts.answer", "Say.")
    data["scoring"]["modes"] = {"answer": {"rubric": "words", "target": {"answer": "anwser"}}}
    rows = [{**row, "answer": "yes"} for row in ROWS]
    found = complaint(in_tmp, data, rows)
    assert "scoring.modes.answer.target.answer: " in found
    assert "did you mean '{{ answer }}'?" in found


def test_a_constant_slot_among_others_may_be_meant(in_tmp: Path) -> None:
    make_task(in_tmp, changed("scoring.target.count", "1")).validate()
    make_task(in_tmp, changed("scoring.target", {"count": "{{ '2' }}", "object": "{{ 'cup' }}"})).validate()


def test_one_planted_answer_may_serve_every_sample(in_tmp: Path) -> None:
    data = changed("prompts.planted", "Draw: 1 hat.")
    data["scoring"]["modes"] = {
        "planted": {"rubric": "object_count", "target": {"count": 1, "object": "hat"}}
    }
    make_task(in_tmp, data).validate()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("scoring.target", {"count": "{{ count }}"}, "needs the slots count, object; found count."),
        (
            "scoring.target.count",
            "{{ question }}",
            "is no value of this slot (count) of rubric 'object_count'",
        ),
        (
            "scoring.target",
            "{{ count }}",
            "expected a field that holds the rubric's slots, found 3 in sample a.",
        ),
        ("scoring.rubric", "{{ object }}", "scoring.rubric: Unknown rubric 'cup'."),
        (
            "scoring.unit",
            "piar",
            "scoring.unit of task 'counting': Unknown field 'piar'. Did you mean 'pair'?",
        ),
        ("scoring.names", "nmaes", "scoring.names: Unknown field 'nmaes'."),
        ("scoring.guesses", {"constant": ["cuont"]}, "scoring.guesses.constant: Unknown slot 'cuont'."),
        ("scoring.guesses", {"among": {"count": "pairs"}}, "Unknown field 'pairs'. Did you mean 'pair'?"),
        (
            "prompts.direct",
            "{% if count > 5 %}x{% endif %}",
            "prompts.direct: sample a gives an empty prompt.",
        ),
        ("prompts.direct", "{{ question.__class__ }}", "cannot reach Python internals"),
        ("prompts.gold", "{{ '' }}", "prompts.gold: sample a gives an empty prompt."),
    ],
)
def test_a_mistake_that_only_rows_show_is_named_with_its_place(
    in_tmp: Path, path: str, value: Any, message: str
) -> None:
    found = complaint(in_tmp, changed(path, value))
    assert message in found
    assert found.startswith("counting.yaml:")


def test_an_answer_that_its_own_words_do_not_give_back_is_refused(in_tmp: Path) -> None:
    data = changed("scoring", {"rubric": "name", "target": {"name": "{{ object }}"}, "names": "names"})
    rows = [{**row, "names": ["hat", "dog"]} for row in ROWS]
    assert "the right answer in words does not score correct: name: nothing instead of cup." in complaint(
        in_tmp, data, rows
    )


@pytest.mark.parametrize("row", range(3))
def test_a_fault_in_any_of_the_first_rows_is_found(in_tmp: Path, row: int) -> None:
    rows = [{**fields, "count": "?" if number == row else 1} for number, fields in enumerate(ROWS)]
    assert f"(sample {'abc'[row]}).count: '?' is no value of this slot" in complaint(in_tmp, TASK, rows)


# --- mistakes in the rows ---


@pytest.mark.parametrize(
    "id_", ["../x", "a/b", "..", ".hidden", "a b", "", "a..b", "-x", "é", "x" * 129, "a\n"]
)
def test_an_id_that_could_not_name_a_file_is_refused(in_tmp: Path, id_: str) -> None:
    task = _with_rows(make_task(in_tmp), [{"id": id_}])
    with pytest.raises(DataError, match=r"row 1 has the id .* Ids become file names"):
        _ = task.samples


@pytest.mark.parametrize("id_", ["a", "7", "A-b_c.d", "0" * 128, 12])
def test_an_id_that_can_name_a_file_is_kept(in_tmp: Path, id_: str | int) -> None:
    assert _with_rows(make_task(in_tmp), [{"id": id_}]).samples[0].id == str(id_)


def test_two_rows_with_one_id_are_refused(in_tmp: Path) -> None:
    task = _with_rows(make_task(in_tmp), [{"id": "a"}, {"id": "b"}, {"id": "b"}, {"id": "a"}])
    with pytest.raises(DataError, match=r"Task 'counting': two rows have the id 'b'"):
        _ = task.samples


def test_a_dataset_without_rows_is_refused(in_tmp: Path) -> None:
    assert complaint(in_tmp, TASK, []) == (
        "Task 'counting' has no samples: the dataset 'jsonl' returned none."
    )


def test_a_source_that_fails_names_the_task_and_itself(in_tmp: Path) -> None:
    def broken(**options: Any) -> Any:
        raise ZeroDivisionError("by zero")

    task = _with_rows(make_task(in_tmp), [], broken)
    with pytest.raises(
        DataError, match=r"Task 'counting': the dataset 'jsonl' failed: ZeroDivisionError: by zero"
    ):
        _ = task.samples


def test_a_source_that_fails_half_way_is_named_too(in_tmp: Path) -> None:
    def half(**options: Any) -> Any:
        yield {"id": "a"}
        raise ZeroDivisionError("by zero")

    with pytest.raises(DataError, match=r"the dataset 'jsonl' failed: ZeroDivisionError"):
        _ = _with_rows(make_task(in_tmp), [], half).samples


@pytest.mark.parametrize("row", [None, "words", ["a"], 3])
def test_a_row_that_is_no_mapping_is_refused(in_tmp: Path, row: Any) -> None:
    with pytest.raises(DataError, match=r"Task 'counting': row 1 is .*expected a mapping"):
        _ = _with_rows(make_task(in_tmp), [row]).samples


@pytest.mark.parametrize("value", [{1, 2}, {1: 2}, object(), 2**70])
def test_a_value_that_json_has_no_word_for_is_refused(in_tmp: Path, value: Any) -> None:
    task = _with_rows(make_task(in_tmp), [{"id": "a", "value": value}])
    with pytest.raises(DataError, match=r"Task 'counting': sample a holds what JSON has no word for: "):
        _ = task.fingerprint


def test_a_file_of_rows_that_is_missing_is_named(in_tmp: Path) -> None:
    path = write_task(in_tmp, changed("dataset.path", "other.jsonl"))
    with pytest.raises(DataError, match=r"other.jsonl: cannot be read"):
        read_task(path).validate()
    with pytest.raises(TaskFileError, match=r"counting.yaml: cannot be read|No such file"):
        read_task(in_tmp / "none" / "counting.yaml")


def test_a_row_that_lacks_a_field_is_named_wherever_it_stands(in_tmp: Path) -> None:
    task = make_task(in_tmp)
    *rows, last = task.samples
    odd = replace(last, id="odd", fields={k: v for k, v in last.fields.items() if k != "question"})
    task.__dict__["samples"] = (*rows * 100, odd)
    with pytest.raises(TaskFileError, match=r"^sample odd: .*Unknown variable 'question'"):
        task.validate()


def test_an_option_that_is_missing_is_asked_for_when_rows_are_wanted(in_tmp: Path) -> None:
    task = make_task(in_tmp, changed("dataset.path", None))
    with pytest.raises(
        DataError, match=r"Task 'counting': dataset 'jsonl' needs the option path=\.\.\. Its options stand"
    ):
        _ = task.samples


def _with_rows(task: Task, rows: Any, source: Any = None) -> Task:
    from dataclasses import replace

    return replace(task, factory=source or (lambda: rows), options={})
