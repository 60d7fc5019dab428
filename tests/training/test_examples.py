"""Examples on disk: what is written comes back, and a file made by hand is read or refused by line."""

import json
from pathlib import Path

import pytest

from unisandbox.errors import DataError
from unisandbox.records import Example, Image
from unisandbox.training.examples import FILE, digest, read, write, write_parquet
from unisandbox.world import Scene, compose


def picture(kind: str = "cup", count: int = 2, seed: int = 0) -> Image:
    return Image.from_pil(compose(Scene((kind,) * count), 64, seed, lattice=8))


EXAMPLES = [
    Example("Draw 1 + 1 cups.", image=picture()),
    Example("Wer ist Zemira?", text="Zemira is elderly."),
    Example("Draw as many hats as 9 / 3 comes to.", image=picture("hat", 3)),
]


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    write(tmp_path, [(example, {"task": "math_1"}) for example in EXAMPLES])
    assert read(tmp_path) == read(tmp_path / FILE) == EXAMPLES
    assert json.loads((tmp_path / FILE).read_text().splitlines()[0])["task"] == "math_1"


def test_writing_again_is_writing_once(tmp_path: Path) -> None:
    write(tmp_path, [(example, {}) for example in EXAMPLES])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    write(tmp_path, [(example, {}) for example in EXAMPLES])
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_digest_knows_prompt_answer_and_order() -> None:
    first, second, third = EXAMPLES
    found = [
        digest(examples)
        for examples in (
            [first, second],
            [second, first],
            [first, third],
            [Example(first.prompt, image=picture(seed=5)), second],
            [first, Example(second.prompt, text="Zemira is a child.")],
        )
    ]
    assert len(set(found)) == 5
    assert digest([first, second]) == found[0]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "not a line of JSON"),
        ('["a"]', "expected an object with a 'prompt'"),
        ('{"image": "x.png"}', "expected an object with a 'prompt'"),
        ('{"prompt": "Draw."}', "either 'image', a path, or 'text'"),
        ('{"prompt": "Draw.", "image": "x.png", "text": "a cup"}', "either 'image', a path, or 'text'"),
        ('{"prompt": "Draw.", "image": 3}', "either 'image', a path, or 'text'"),
        ('{"prompt": "Draw.", "image": "gone.png"}', "there is no picture"),
    ],
)
def test_a_bad_line_is_named(line: str, fault: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"prompt": "Who?", "text": "He."}\n' + line + "\n")
    with pytest.raises(DataError, match=f"{FILE}:2: .*{fault}"):
        read(tmp_path)


def test_a_folder_without_examples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"There is no .*examples\.jsonl"):
        read(tmp_path)


def test_parquet_is_as_a_text_to_image_trainer_reads_it(tmp_path: Path) -> None:
    """BAGEL's: a column of encoded pictures, and one of captions as a JSON object."""
    pyarrow = pytest.importorskip("pyarrow.parquet")
    path = write_parquet(tmp_path, EXAMPLES)
    rows = pyarrow.read_table(path).to_pylist()
    assert [list(json.loads(row["captions"]).values()) for row in rows] == [
        [EXAMPLES[0].prompt],
        [EXAMPLES[2].prompt],
    ]
    assert [Image(row["image"]).pil().tobytes() for row in rows] == [
        example.image.pil().tobytes() for example in EXAMPLES if example.image
    ]
