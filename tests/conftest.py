"""What several tests share: the real data beside the project, and images made on the spot."""

import os
from pathlib import Path

import pytest

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real images; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("SECOND_READ_TEST_DATA", _BESIDE))
    if not folder.is_dir():
        pytest.skip(f"no real images at {folder}: set SECOND_READ_TEST_DATA to a folder with breakhis/ in it")
    return folder
