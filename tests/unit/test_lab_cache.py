"""What laboratories build once: whole or not at all."""

from pathlib import Path

import pytest

from forewarn.lab.cache import built


def made_in(draft: Path) -> Path:
    (draft / "parts").mkdir()
    made = draft / "made"
    made.mkdir()
    (made / "file").write_text("whole")
    return made


def test_what_is_there_is_not_built_again_and_no_draft_is_left(tmp_path: Path) -> None:
    folder = built(tmp_path, "thing-1", made_in)
    assert (folder / "file").read_text() == "whole"
    assert built(tmp_path, "thing-1", lambda _: pytest.fail("built again")) == folder
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "thing-1"]


def test_a_build_that_fails_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    def broken(draft: Path) -> Path:
        made_in(draft)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        built(tmp_path, "thing-1", broken)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    assert (built(tmp_path, "thing-1", made_in) / "file").exists()
