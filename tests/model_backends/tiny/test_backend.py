"""The backend: every mode of the benchmark becomes a conversation the model was trained in."""

from pathlib import Path

import pytest

from tests.support_tiny import untrained, writer
from unisandbox.backend import Backend
from unisandbox.errors import BackendError, UsageError
from unisandbox.model_backends.tiny import backend
from unisandbox.model_backends.tiny.backend import Tiny
from unisandbox.model_backends.tiny.checkpoint import FILE, save
from unisandbox.model_backends.tiny.factory import tiny as tiny_factory
from unisandbox.model_backends.tiny.patches import SIDE
from unisandbox.model_backends.tiny.words import END, MODEL, THINK, USER
from unisandbox.prompts import with_thought
from unisandbox.records import Generation, Image, Output, Prompt, Request, Turn
from unisandbox.specs import build
from unisandbox.world import Scene, compose

QUESTION = "Draw as many cups as 8 - 6 comes to."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("untrained")
    save(untrained(), out / FILE, {"made": "for tests"})
    return out


@pytest.fixture
def tiny(folder: Path) -> Tiny:
    return Tiny(folder)


def request(
    *turns: Turn, output: Output = "image", think: bool = False, key: str = "a", seed: int = 3
) -> Request:
    return Request(key, Prompt(turns, output, think=think), seed, "math_1", key, "direct")


def ask(tiny: Tiny, *turns: Turn, output: Output = "image", think: bool = False) -> Generation:
    (generation,) = tiny.generate([request(*turns, output=output, think=think)])
    return generation


def words(text: str) -> list[int]:
    return writer().words.tokens(text)


def test_it_is_a_backend_that_says_what_it_is(tiny: Tiny) -> None:
    assert isinstance(tiny, Backend)
    told = tiny.describe()
    assert told["notes"] == {"made": "for tests"}
    assert told["threads"] == 1 and told["device"] == "cpu"
    assert told["thinking"] == "native, reissued"


def test_it_draws_in_the_size_of_its_tokenizer(tiny: Tiny) -> None:
    generation = ask(tiny, Turn("user", QUESTION))
    assert generation.image is not None and generation.thought is None
    assert generation.image.pil().size == (SIDE, SIDE)


def test_it_answers_in_words(tiny: Tiny) -> None:
    generation = ask(tiny, Turn("user", QUESTION), output="text")
    assert generation.image is None and isinstance(generation.text, str)
    assert generation.finish in ("complete", "truncated")


# --- what the model reads ---


def test_what_is_to_be_done_comes_behind_the_state_that_answers_and_draws(tiny: Tiny) -> None:
    """Up to there a question is read alike, whether words, a thought or a picture are to follow."""
    turns = (Turn("user", QUESTION),)
    ways: tuple[tuple[Output, bool], ...] = (("text", False), ("image", False), ("image", True))
    asked = [
        Request(str(number), Prompt(turns, output, think=think), 3, "math_1", "a", "direct")
        for number, (output, think) in enumerate(ways)
    ]
    plain = [USER, *words(QUESTION), MODEL]
    assert list(tiny._contexts(asked).values()) == [plain, plain, [*plain, THINK]]


def test_a_thought_put_in_is_a_thought_and_its_conclusion_a_new_turn(tiny: Tiny) -> None:
    turns = with_thought(QUESTION, "8 - 6 = 2.\nDraw: 2 cups.")
    thought, again = words("8 - 6 = 2. Draw: 2 cups."), words("Draw 2 cups.")
    before = [USER, *words(QUESTION), MODEL, THINK, *thought, END]
    assert tiny._context(turns) == [*before, USER, *again, MODEL]


def test_an_answer_given_before_stays_an_answer(tiny: Tiny) -> None:
    turns = (Turn("user", "Draw a cup."), Turn("model", "1 cup"), Turn("user", "Draw."))
    assert tiny._context(turns) == [
        USER,
        *words("Draw a cup."),
        MODEL,
        *words("1 cup"),
        END,
        USER,
        *words("Draw."),
        MODEL,
    ]


def test_pictures_come_before_what_is_asked_about_them(tiny: Tiny) -> None:
    picture = Image.from_pil(compose(Scene(("cup",)), 128, lattice=16))
    context = tiny._context((Turn("user", "What is it?", (picture,)),))
    size = len(writer().words)
    assert context[0] == USER
    assert all(size <= token for token in context[1:65])
    assert context[65:] == [*words("What is it?"), MODEL]


@pytest.mark.parametrize("form", ["reissued", "inline"])
def test_thinking_puts_the_own_thought_into_the_context(
    folder: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    read: list[list[int]] = []
    said = [*words("8 - 6 = 2. Draw: 2 cups."), END]
    monkeypatch.setattr(backend, "write", lambda network, contexts, *_: [said for _ in contexts])

    def draw(network: object, contexts: list[list[int]], *_: object) -> list[list[int]]:
        read.extend(contexts)
        return [[0] * 64 for _ in contexts]

    monkeypatch.setattr(backend, "draw", draw)
    tiny = Tiny(folder, thought=form)  # type: ignore[arg-type]
    generation = ask(tiny, Turn("user", QUESTION), think=True)
    assert generation.thought == "8 - 6 = 2. Draw: 2 cups."
    again = [USER, *words("Draw 2 cups.")] if form == "reissued" else []
    assert read == [[USER, *words(QUESTION), MODEL, THINK, *said, *again, MODEL]]


# --- batches ---


def test_neither_company_nor_kind_changes_an_answer(tiny: Tiny) -> None:
    """Pictures, thoughts and words are asked for together, alone, and backwards."""
    asked = [
        request(
            Turn("user", f"Draw {number} cups."),
            output="text" if number % 3 == 0 else "image",
            think=number % 3 == 1,
            key=str(number),
            seed=number,
        )
        for number in range(12)
    ]
    together = {generation.key: generation for generation in tiny.generate(asked)}
    backwards = {generation.key: generation for generation in tiny.generate(asked[::-1])}
    alone = {one.key: generation for one in asked for generation in tiny.generate([one])}
    assert together == backwards == alone
    assert len(together) == 12


def test_nothing_asked_is_nothing_answered(tiny: Tiny) -> None:
    assert list(tiny.generate([])) == []


# --- bad input ---


def test_unknown_words_are_warned_of_once(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        ask(tiny, Turn("user", "Draw 3 dragons and Zemira, fluently."))
    warning = capsys.readouterr().err
    assert warning.count("warning") == 1 and warning.count("\n") == 1
    assert "tiny was never taught the words 'dragons', 'fluently'" in warning


def test_a_prompt_too_long_is_an_error_of_its_own(tiny: Tiny) -> None:
    long = request(Turn("user", "cup " * 900), key="long")
    short = request(Turn("user", QUESTION), key="short")
    found = {generation.key: generation for generation in tiny.generate([long, short])}
    assert found["short"].image is not None
    assert found["long"].finish == "error"
    assert "the prompt has 902 tokens; this model reads at most" in str(found["long"].error)


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="There is no checkpoint"):
        Tiny(tmp_path / "none")


def test_a_device_that_is_not_there(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"tiny: device='nosuch'"):
        Tiny(folder, device="nosuch")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"variant": "large"}, "variant"),
        ({"thought": "aloud"}, "thought"),
        ({"threads": "0"}, "threads"),
        ({"temperature": "-1"}, "temperature"),
        ({"tempreature": "1"}, "Did you mean 'temperature'"),
    ],
)
def test_options_are_checked(options: dict[str, str], fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        build("model 'tiny'", tiny_factory, options)
