"""Replays: what lies in the folder comes back as it is; what does not is an error, never a wrong answer."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as pil

from unisandbox.backend import Backend
from unisandbox.errors import BackendError, UsageError
from unisandbox.model_backends.folder import Folder
from unisandbox.records import Generation, Image, Output, Prompt, Request, Sample, Turn
from unisandbox.specs import build


def request(
    sample: str = "a", mode: str = "direct", output: Output = "image", repeat: int = 0, **fields: Any
) -> Request:
    prompt = Prompt((Turn("user", "Draw."),), output, think=mode == "cot")
    row = Sample(sample, fields, sample)
    return Request(f"{sample}/{mode}/{repeat}", prompt, 1, "math_1", sample, mode, repeat, sample=row)


def replay(folder: Path, asked: Request, **options: Any) -> Generation:
    (generation,) = Folder(path=folder, **options).generate([asked])
    assert generation.key == asked.key
    return generation


def draw(path: Path, colour: str = "red") -> bytes:
    """Write a picture in the format its suffix names; return its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pil.new("RGB", (16, 16), colour).save(path)
    return path.read_bytes()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_it_is_a_backend_that_says_where_it_looks(tmp_path: Path) -> None:
    folder = Folder(path=tmp_path)
    assert isinstance(folder, Backend)
    assert folder.describe() == {"path": str(tmp_path), "layout": "unisandbox"}


# --- our layout ---


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp"])
def test_a_picture_comes_back_byte_by_byte(tmp_path: Path, suffix: str) -> None:
    data = draw(tmp_path / "math_1" / "direct" / f"a{suffix}")
    found = replay(tmp_path, request())
    assert (found.finish, found.image, found.thought) == ("complete", Image(data), None)
    assert found.image is not None
    assert found.image.suffix == suffix


def test_task_mode_sample_and_repeat_name_the_file(tmp_path: Path) -> None:
    base = tmp_path / "math_1"
    colours = {
        "direct/a.png": "red", "direct/a.1.png": "green", "direct/a.2.png": "blue", "direct/b.png": "white",
        "render/a.png": "black",
    }  # fmt: skip
    data = {name: draw(base / name, colour) for name, colour in colours.items()}
    asked = {
        "direct/a.png": request(),
        "direct/a.1.png": request(repeat=1),
        "direct/a.2.png": request(repeat=2),
        "direct/b.png": request("b"),
        "render/a.png": request(mode="render"),
    }
    generations = list(Folder(path=tmp_path).generate(list(asked.values())))
    assert [generation.key for generation in generations] == [one.key for one in asked.values()]
    for name, generation in zip(asked, generations, strict=True):
        assert generation.image is not None
        assert generation.image.data == data[name]


def test_dots_in_an_id_are_kept(tmp_path: Path) -> None:
    data = draw(tmp_path / "math_1" / "direct" / "12.5-a.png")
    assert replay(tmp_path, request("12.5-a")).image == Image(data)
    draw(tmp_path / "math_1" / "direct" / "12.png")
    assert replay(tmp_path, request("12.4")).finish == "error"


def test_a_thought_lies_beside_its_picture(tmp_path: Path) -> None:
    draw(tmp_path / "math_1" / "cot" / "a.png")
    write(tmp_path / "math_1" / "cot" / "a.txt", "8 / 4 = 2.\nDraw: 2 cups – “mugs”.")
    assert replay(tmp_path, request(mode="cot")).thought == "8 / 4 = 2.\nDraw: 2 cups – “mugs”."


def test_an_answer_in_words_is_a_text_file(tmp_path: Path) -> None:
    write(tmp_path / "math_1" / "answer" / "a.txt", "2 cups")
    found = replay(tmp_path, request(mode="answer", output="text"))
    assert (found.text, found.finish, found.image) == ("2 cups", "complete", None)


def test_bytes_that_are_no_text_are_shown_as_such(tmp_path: Path) -> None:
    path = tmp_path / "math_1" / "answer" / "a.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"caf\xe9")
    assert replay(tmp_path, request(mode="answer", output="text")).text == "caf\ufffd"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (request("b"), "missing: math_1/direct/b{.png,.jpg,.jpeg,.webp}"),
        (request(repeat=1), "missing: math_1/direct/a.1{.png,.jpg,.jpeg,.webp}"),
        (request(mode="cot"), "missing: math_1/cot/a{.png,.jpg,.jpeg,.webp}"),
        (request(mode="answer", output="text"), "missing: math_1/answer/a.txt"),
    ],
)
def test_what_is_missing_is_an_error_that_names_the_file(
    tmp_path: Path, asked: Request, message: str
) -> None:
    draw(tmp_path / "math_1" / "direct" / "a.png")
    found = replay(tmp_path, asked)
    assert (found.finish, found.error) == ("error", message)
    assert (found.image, found.text) == (None, None)


@pytest.mark.parametrize("data", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n"])
def test_a_picture_that_cannot_be_read_is_an_error(tmp_path: Path, data: bytes) -> None:
    draw(path := tmp_path / "math_1" / "direct" / "a.png")
    path.write_bytes(data)
    found = replay(tmp_path, request())
    assert found.finish == "error"
    assert str(found.error).startswith("unreadable: math_1/direct/a.png: ")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_that_is_cut_off_is_an_error(tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / "math_1" / "direct" / f"a{suffix}"
    path.parent.mkdir(parents=True)
    pil.effect_noise((64, 64), 80).convert("RGB").save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert replay(tmp_path, request()).finish == "error"


def test_one_bad_file_costs_only_its_own_sample(tmp_path: Path) -> None:
    draw(tmp_path / "math_1" / "direct" / "a.png")
    draw(tmp_path / "math_1" / "direct" / "c.png")
    (tmp_path / "math_1" / "direct" / "b.png").write_bytes(b"x")
    generations = Folder(path=tmp_path).generate([request(name) for name in "abc"])
    assert [generation.finish for generation in generations] == ["complete", "error", "complete"]


@pytest.mark.parametrize("sample", ["../../../secret", "../../math_2/direct/a", "/etc/passwd"])
def test_nothing_outside_the_folder_is_read(tmp_path: Path, sample: str) -> None:
    folder = tmp_path / "inside"
    (folder / "math_1" / "direct").mkdir(parents=True)
    draw(tmp_path / "secret.png")
    found = replay(folder, request(sample))
    assert found.finish == "error"
    assert found.image is None


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    draw(tmp_path / "outside" / "a.png")
    (tmp_path / "inside" / "math_1").mkdir(parents=True)
    (tmp_path / "inside" / "math_1" / "direct").symlink_to(tmp_path / "outside")
    assert "lies outside the folder" in str(replay(tmp_path / "inside", request()).error)


# --- the published layout ---


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder as the published code leaves it."""
    for mode in ("normal", "think"):
        draw(tmp_path / "test" / mode / "math_1" / "7.png", "red" if mode == "normal" else "blue")
        draw(tmp_path / "test" / mode / "mapping1" / "7_A.png", "green")
    lines = [
        {"image_file": "images/7.png", "think_output": "It is two."},
        {"image_file": "8.png", "think_output": "It is three."},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write(tmp_path / "test" / "think" / "math_1" / "output.jsonl", text)
    return tmp_path


def test_published_pictures_and_thoughts_are_found(published: Path) -> None:
    direct = replay(published, request("7", stem="math_1"), layout="published")
    cot = replay(published, request("7", "cot", stem="math_1"), layout="published")
    pair = replay(published, request("7-A", stem="mapping1", image="7_A"), layout="published")
    assert direct.image is not None and cot.image is not None and pair.image is not None
    assert (direct.thought, cot.thought, pair.thought) == (None, "It is two.", None)
    assert [one.image.pil().getpixel((0, 0)) for one in (direct, cot, pair) if one.image] == [
        (255, 0, 0),
        (0, 0, 255),
        (0, 128, 0),
    ]


def test_a_published_picture_that_is_missing_is_an_error(published: Path) -> None:
    found = replay(published, request("9", stem="math_1"), layout="published")
    assert found.error == "missing: test/normal/math_1/9{.png,.jpg,.jpeg,.webp}"


@pytest.mark.parametrize(
    "asked",
    [request("7"), request("7", "render", stem="math_1"), request("7", "answer", "text", stem="math_1")],
)
def test_what_the_published_layout_has_no_place_for_is_refused(published: Path, asked: Request) -> None:
    with pytest.raises(BackendError) as caught:
        replay(published, asked, layout="published")
    assert f"no place for task 'math_1' in mode {asked.mode!r}" in str(caught.value)
    assert "layout=unisandbox" in str(caught.value)


@pytest.mark.parametrize("line", ["{", '{"image": "7.png"}', "[1]", '{"image_file": 7, "think_output": "x"}'])
def test_published_thoughts_in_another_form_are_refused(published: Path, line: str) -> None:
    path = published / "test" / "think" / "math_1" / "output.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(BackendError) as caught:
        replay(published, request("7", "cot", stem="math_1"), layout="published")
    assert f"{path}: not the published thoughts (image_file, think_output)" in str(caught.value)


# --- options ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "model 'folder' needs the option path="),
        ({"path": "none"}, "model folder: path=none: no such folder."),
        ({"path": __file__}, "a file; expected the folder of the pictures."),
        (
            {"path": ".", "layout": "theirs"},
            "option layout='theirs': input should be 'unisandbox' or 'published'.",
        ),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    in_tmp: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        build("model 'folder'", Folder, options)
    assert message in str(caught.value)
