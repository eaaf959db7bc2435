from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from core.files import describe_first_problem, write_whole


def test_a_file_that_cannot_be_written_whole_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new folder" / "a.json"
    write_whole(path, b"old")

    def full_disk(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_the_first_problem_of_a_document_is_named_with_its_place() -> None:
    with pytest.raises(ValidationError) as inside:
        TypeAdapter(dict[str, list[int]]).validate_python({"a": [1, "x"]})
    assert describe_first_problem(inside.value, "the file").startswith("a.1: ")
    with pytest.raises(ValidationError) as whole:
        TypeAdapter(int).validate_python("x")
    assert describe_first_problem(whole.value, "the file").startswith("the file: ")
