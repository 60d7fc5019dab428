"""What guessing scores, held against counting every case by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from unisandbox.errors import TaskFileError
from unisandbox.guesses import Guess, GuessSpec, best_guess, guesses
from unisandbox.records import Sample

Rows = Sequence[Mapping[str, Any]]


def strategies(spec: GuessSpec, rows: Rows, unit: str = "id") -> dict[str, float]:
    """Return the strategies over rows whose ``target`` holds the slots; equal is correct."""
    samples = [Sample(str(n), row, str(row.get(unit, n))) for n, row in enumerate(rows)]

    def target(sample: Sample) -> Mapping[str, Any]:
        slots: Mapping[str, Any] = sample.fields["target"]
        return slots

    def matches(sample: Sample, slots: Mapping[str, Any]) -> bool:
        return all(str(slots.get(slot)) == str(value) for slot, value in target(sample).items())

    found = guesses(spec, samples, target, matches, "f.yaml:1: scoring")
    return {guess.strategy: guess.score for guess in found}


def counts(*answers: int, **fields: Any) -> Rows:
    return [{"target": {"count": answer, "object": "cup"}, **fields} for answer in answers]


def test_without_a_word_every_slot_is_guessed() -> None:
    rows = [{"target": {"count": n, "object": kind}} for n, kind in ((1, "cup"), (2, "cup"), (1, "cup"))]
    assert strategies(GuessSpec(), rows) == {
        "always 1 cup (count and object)": pytest.approx(2 / 3),
        "any count and object at random": pytest.approx(1 / 2),
    }


def test_slots_that_the_question_tells_are_not_guessed() -> None:
    rows = [{"target": {"count": n, "object": kind}} for n, kind in ((1, "cup"), (1, "dog"), (2, "hat"))]
    assert strategies(GuessSpec(constant=["count"]), rows) == {
        "always 1 (count)": pytest.approx(2 / 3),
        "any count at random": pytest.approx(1 / 2),
    }


def test_one_of_what_the_question_names() -> None:
    rows = [
        {**row, "operands": operands} for row, operands in zip(counts(3, 2), ([3, 6], [5, 7]), strict=True)
    ]
    found = strategies(GuessSpec(constant=[], among={"count": "operands"}), rows)
    assert found == {"one of the operands at random": pytest.approx((1 / 2 + 0) / 2)}


def test_a_whole_target_may_be_one_of_several_fields() -> None:
    rows = [{"target": {"hair": "red"}, "other": {"hair": "blond"}} for _ in range(3)]
    found = strategies(GuessSpec(constant=[], among={"target": ["target", "other"]}), rows)
    assert found == {"one of the targets at random": 0.5}


def test_every_sample_of_a_unit_must_be_right() -> None:
    rows = [
        {"target": {"object": kind}, "pair": pair, "candidates": ["cup", "dog"]}
        for pair, kind in (("p", "cup"), ("p", "dog"), ("q", "cup"), ("q", "dog"))
    ]
    found = strategies(GuessSpec(among={"object": "candidates"}), rows, unit="pair")
    assert found == {
        "always cup (object)": 0.0,
        "any object at random": 0.25,
        "one of the candidates at random": 0.25,
    }


def test_pairs_with_one_answer_twice_are_guessed_whole() -> None:
    rows = [{"target": {"object": "cup"}, "pair": pair} for pair in "ppqq"]
    assert strategies(GuessSpec(), rows, unit="pair")["always cup (object)"] == 1.0


def test_questions_that_ask_for_different_slots_have_different_commonest_answers() -> None:
    rows = [
        *({"target": {"hair": hair}} for hair in ("red", "red", "blond")),
        *({"target": {"species": kind}} for kind in ("rose", "tulip", "rose", "rose", "lily")),
    ]
    assert strategies(GuessSpec(), rows) == {
        "always red or rose (hair or species)": pytest.approx((2 + 3) / 8),
        "any hair or species at random": pytest.approx((3 * 1 / 2 + 5 * 1 / 3) / 8),
    }


def test_no_answer_is_ever_guessed_for_slots_a_target_lacks() -> None:
    rows = [{"target": {"hair": hair}} for hair in "abcd"] + [{"target": {"species": s}} for s in "wxyz"]
    assert strategies(GuessSpec(), rows)["always a or w (hair or species)"] == pytest.approx(2 / 8)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            GuessSpec(constant=["cuont"]),
            "f.yaml:1: scoring.guesses.constant: Unknown slot 'cuont'. Did you mean 'count'?",
        ),
        (
            GuessSpec(among={"cuont": "operands"}),
            "f.yaml:1: scoring.guesses.among: Unknown slot 'cuont'. Did you mean 'count'?",
        ),
        (
            GuessSpec(among={"count": "operand"}),
            "f.yaml:1: scoring.guesses.among.count: Unknown field 'operand'. Did you mean 'operands'?",
        ),
        (GuessSpec(among={"count": ["a"]}), "Unknown field 'a'."),
    ],
)
def test_what_is_not_there_is_named(spec: GuessSpec, message: str) -> None:
    with pytest.raises(TaskFileError) as caught:
        strategies(spec, counts(1, 2, operands=[1, 2]))
    assert message in str(caught.value)


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ValidationError):
        GuessSpec.model_validate({"constants": ["count"]})


def test_an_empty_list_of_names_cannot_be_right() -> None:
    assert strategies(GuessSpec(constant=[], among={"count": "operands"}), counts(1, operands=[])) == {
        "one of the operands at random": 0.0
    }


def test_the_best_strategy_counts() -> None:
    assert best_guess([Guess("a", 0.1), Guess("b", 0.3), Guess("c", 0.2)]) == Guess("b", 0.3)
    assert best_guess([]).score == 0.0
