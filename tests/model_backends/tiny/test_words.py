"""Text becomes tokens and text again; what has no token is spelled, and named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support_tiny import material, writer
from unisandbox.model_backends.tiny.words import END, ODD, Words, learned

WORDS = Words([*".,:;?!()%√^", "'s", "draw", "cups", "is", "means", "the", "cherry", "pie"])


@pytest.mark.parametrize(
    "text",
    [
        "Draw 3 cups.",
        "K means a pie.",
        "√9. Draw.",
        "(3; 4) % 5: draw!",
        "Draw 3 12 1203 4 007 cups.",
        "Zemira's cherry is the pie.",
        "Cherry, pie?",
    ],
)
def test_text_comes_back_spaced_and_capitalised(text: str) -> None:
    assert WORDS.text(WORDS.tokens(text)) == text


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789 .,", max_size=40))
def test_plain_text_loses_nothing_but_case_and_spacing(text: str) -> None:
    tokens = WORDS.tokens(text)
    again = WORDS.text(tokens)
    assert again.replace(" ", "").lower() == text.replace(" ", "")
    assert ODD not in tokens


@pytest.mark.parametrize("same", ["DRAW\n3 Cups .", "'draw' \"3\" [cups].", "“Draw” 3 ‘cups’."])
def test_case_spacing_and_quotes_do_not_count(same: str) -> None:
    assert WORDS.tokens("draw 3  cups.") == WORDS.tokens(same)


def test_a_name_is_spelled_and_comes_back() -> None:
    tokens = WORDS.tokens("Zemira")
    assert len(tokens) == 6
    assert WORDS.text(tokens) == "Zemira"


def test_a_number_is_its_digits_and_the_last_is_the_token_that_it_is_alone() -> None:
    (three,) = WORDS.tokens("3")
    assert len(WORDS.tokens("473")) == 3 and WORDS.tokens("473")[-1] == three
    assert WORDS.tokens("47") != WORDS.tokens("4 7")


def test_two_names_in_a_row_are_two_words() -> None:
    assert WORDS.text(WORDS.tokens("Zemira Fuzelf")) == "Zemira Fuzelf"


def test_what_cannot_be_spelled_is_odd() -> None:
    assert WORDS.tokens("日") == [ODD]
    assert WORDS.text([ODD, END]) == ""


def test_text_that_looks_like_a_special_token_is_only_text() -> None:
    assert END not in WORDS.tokens("<end>")
    assert END not in Words(["<end>", "end"]).tokens("<end>")


def test_unknown_words_are_named_but_names_are_not() -> None:
    assert WORDS.unknown("Draw 3 dragons, Zemira; dragons & 日") == ["&", "dragons", "日"]


def test_names_get_no_token_however_often_they_stand_there() -> None:
    words = learned(["Zemira draws."] * 9, ["Zemira"])
    assert words.known == (".", "draws")


def test_the_vocabulary_covers_every_prompt_and_answer_of_the_tasks() -> None:
    words = writer().words
    for rows in (*material().reasoning.values(), *material().people.values()):
        for row in rows[:50]:
            for text in (row.question, row.asked, row.thought, row.said, *sum(row.recalled, ())):
                assert words.unknown(text) == [], text


def test_questions_and_thoughts_survive_the_tokenizer() -> None:
    words = writer().words
    for rows in (*material().reasoning.values(), *material().people.values()):
        for row in rows[:50]:
            for text in (row.question, row.thought, row.said):
                assert words.tokens(words.text(words.tokens(text))) == words.tokens(text)
