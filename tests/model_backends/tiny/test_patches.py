"""Pictures of the world survive the image tokenizer, and the exact reader reads them."""

from random import Random

import pytest
from PIL import Image

from tests.support_tiny import codebook
from unisandbox.model_backends.tiny.patches import PATCH, SIDE, TOKENS
from unisandbox.world import Scene, all_people, compose, kinds, read


def there_and_back(picture: Image.Image) -> Image.Image:
    (tokens,) = codebook().tokens([picture])
    assert len(tokens) == TOKENS
    return codebook().picture(tokens)


@pytest.mark.parametrize("count", [1, 3, 6])
def test_every_kind_survives_exactly(count: int) -> None:
    draws = Random(count)
    for kind in kinds():
        picture = compose(Scene((kind,) * count), SIDE, draws.randrange(10**6), lattice=PATCH)
        again = there_and_back(picture)
        assert picture.tobytes() == again.tobytes(), kind
        assert read(again).objects == {kind: count}


def test_every_portrait_survives_exactly() -> None:
    for person in all_people():
        picture = compose(Scene(person=person), SIDE)
        again = there_and_back(picture)
        assert picture.tobytes() == again.tobytes(), person
        assert read(again).person == person


def test_a_larger_picture_is_brought_to_size() -> None:
    large = compose(Scene(("cup",) * 2), 512, 1, lattice=512 * PATCH // SIDE)
    assert read(there_and_back(large)).objects == {"cup": 2}


def test_several_pictures_at_once_are_those_one_by_one() -> None:
    pictures = [compose(Scene((kind,)), SIDE, 3, lattice=PATCH) for kind in ("cup", "dog", "rose")]
    assert codebook().tokens(pictures) == [codebook().tokens([picture])[0] for picture in pictures]


def test_tokens_survive_too() -> None:
    tokens = [Random(1).randrange(len(codebook())) for _ in range(TOKENS)]
    assert codebook().tokens([codebook().picture(tokens)]) == [tokens]
