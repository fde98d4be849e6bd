"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag_compress.whole import written_whole


def test_a_file_takes_its_name_at_the_end(tmp_path: Path) -> None:
    """Until all is written the old content stands; afterwards nothing is left beside the file."""
    path = tmp_path / "a.json"
    path.write_text("old")
    with written_whole(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.json", "new")]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_what_fails_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    """A failure keeps the old content and leaves no scratch file."""
    path, scratch = tmp_path / "a.json", tmp_path / "scratch"
    path.write_text("old")

    def lines():
        yield b"half"
        raise error

    with pytest.raises(type(error)), written_whole(path, scratch) as file:
        file.writelines(lines())
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("a.json", "old")]
