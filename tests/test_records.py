"""Pictures keep their bytes; scores say what is not in them."""

from dataclasses import FrozenInstanceError, fields, is_dataclass
from hashlib import sha256
from pathlib import Path

import PIL
import pytest
from PIL import Image as pil

from unisandbox import records
from unisandbox.records import Generation, Image, Prompt, Score, Turn


def score(n: int = 0, unscored: int = 0, **outcomes: int) -> Score:
    return Score(None, None, None, n, unscored, None, None, outcomes)


def test_a_picture_survives_encoding_pixel_by_pixel() -> None:
    picture = pil.effect_mandelbrot((32, 20), (-2, -1, 1, 1), 50).convert("RGB")
    again = Image.from_pil(picture).pil()
    assert again.size == (32, 20)
    assert again.tobytes() == picture.tobytes()


def test_a_file_keeps_its_bytes_and_is_named_by_them(tmp_path: Path) -> None:
    path = tmp_path / "Photo.JPG"
    pil.new("RGB", (8, 8), "red").save(path, "JPEG")
    image = Image.from_file(path)
    assert image.data == path.read_bytes()
    assert image.digest == sha256(path.read_bytes()).hexdigest()[:32]
    assert image.name == image.digest + ".jpg"


def test_pictures_are_equal_when_their_bytes_are() -> None:
    red, same = (Image.from_pil(pil.new("RGB", (4, 4), "red")) for _ in range(2))
    blue = Image.from_pil(pil.new("RGB", (4, 4), "blue"))
    assert red == same
    assert len({red, same, blue}) == 2
    assert red != red.data


def test_other_colour_modes_become_rgb() -> None:
    assert Image.from_pil(pil.new("LA", (4, 4), (9, 255))).pil().mode == "RGB"


@pytest.mark.parametrize("data", [b"", b"no picture", Image.from_pil(pil.new("RGB", (64, 64))).data[:60]])
def test_what_is_no_picture_raises_when_looked_at_and_not_before(data: bytes) -> None:
    image = Image(data)
    assert len(image.digest) == 32
    with pytest.raises(OSError):
        image.pil()
    assert issubclass(PIL.UnidentifiedImageError, OSError)


def test_the_text_of_a_prompt_is_its_last_turn() -> None:
    assert (
        Prompt((Turn("user", "first"), Turn("model", "mine"), Turn("user", "last")), "image").text == "last"
    )


@pytest.mark.parametrize(
    ("n", "unscored", "coverage"), [(90, 10, 0.9), (0, 10, 0.0), (10, 0, 1.0), (0, 0, 1.0)]
)
def test_coverage_is_the_share_of_units_with_a_verdict(n: int, unscored: int, coverage: float) -> None:
    assert score(n, unscored).coverage == coverage


def test_errors_are_counted_apart_from_wrong_answers() -> None:
    assert score(incorrect=3, error=2).errors == 2
    assert score(incorrect=3).errors == 0


def test_all_records_are_frozen_and_hold_no_dict_of_their_own() -> None:
    kinds = [kind for kind in vars(records).values() if is_dataclass(kind) and isinstance(kind, type)]
    assert {kind.__name__ for kind in kinds} >= {"Sample", "Request", "Generation", "Verdict", "Score"}
    for kind in kinds:
        assert not hasattr(kind, "__dict__") or "__slots__" in vars(kind), kind
        assert fields(kind)
    with pytest.raises(FrozenInstanceError):
        Generation("key").text = "other"  # type: ignore[misc]
