"""A file is written whole or not at all."""

from pathlib import Path

import pytest

from unisandbox.files import whole


def test_what_is_written_takes_the_place(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for text in ("one", "two"):
        with whole(path) as beside:
            beside.write_text(text)
        assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fault", [OSError("disk full"), KeyboardInterrupt()])
def test_what_fails_leaves_what_was_there(fault: BaseException, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("one")
    with pytest.raises(type(fault)), whole(path) as beside:
        beside.write_text("tw")
        raise fault
    assert path.read_text() == "one" and list(tmp_path.iterdir()) == [path]
