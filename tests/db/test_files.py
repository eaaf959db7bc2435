"""Files are whole or not there, and are checked whenever they are read."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from db.files import DamagedFileError, Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "files")


def stored_path(root: Path, sha256: str) -> Path:
    return root / "files" / sha256[:2] / sha256[2:4] / sha256


def everything_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("data", [b"", b"tissue", bytes(range(256)) * 5000])
def test_what_is_put_comes_back_under_its_sha256(files: Files, data: bytes) -> None:
    sha256 = files.put(data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert files.get(sha256) == data


def test_the_same_bytes_are_stored_once_and_not_written_again(files: Files, tmp_path: Path) -> None:
    first = files.put(b"tissue")
    written = stored_path(tmp_path, first).stat()
    assert files.put(b"tissue") == first
    again = stored_path(tmp_path, first).stat()
    assert (again.st_ino, again.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert len(everything_in(tmp_path)) == 1


@pytest.mark.parametrize("position", [0, 3, 5])
def test_one_flipped_bit_is_noticed(files: Files, tmp_path: Path, position: int) -> None:
    sha256 = files.put(b"tissue")
    path = stored_path(tmp_path, sha256)
    damaged = bytearray(path.read_bytes())
    damaged[position] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(DamagedFileError, match="has changed since it was stored"):
        files.get(sha256)


def test_a_missing_file_is_said_to_be_missing(files: Files) -> None:
    with pytest.raises(DamagedFileError, match="is missing; restore it from a backup"):
        files.get(hashlib.sha256(b"never stored").hexdigest())


def test_a_file_that_cannot_be_opened_is_said_to_be_unreadable(files: Files, tmp_path: Path) -> None:
    sha256 = files.put(b"tissue")
    stored_path(tmp_path, sha256).unlink()
    stored_path(tmp_path, sha256).mkdir()
    with pytest.raises(DamagedFileError, match="cannot be read"):
        files.get(sha256)


def test_putting_a_damaged_file_again_repairs_it(files: Files, tmp_path: Path) -> None:
    sha256 = files.put(b"tissue")
    stored_path(tmp_path, sha256).write_bytes(b"tiss")
    assert files.put(b"tissue") == sha256
    assert files.get(sha256) == b"tissue"


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_only_a_sha256_names_a_file(files: Files, name: str) -> None:
    with pytest.raises(ValueError, match="not a sha256"):
        files.get(name)


def test_a_full_disk_is_an_error_and_leaves_nothing_behind(files: Files, tmp_path: Path) -> None:
    kept = files.put(b"small enough")
    # The limit on the size of a file fails a write half way, as a full disk does.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            files.put(os.urandom(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in everything_in(tmp_path)] == [kept]


def test_many_threads_may_store_the_same_and_different_bytes(files: Files, tmp_path: Path) -> None:
    data = [bytes([n % 5]) * 10_000 for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(files.put, data))
    assert [files.get(name) for name in names] == data
    assert len(everything_in(tmp_path)) == 5


def test_a_process_killed_while_storing_leaves_no_file_under_a_final_name_that_is_not_whole(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom db.files import Files\n"
        "files = Files(Path(sys.argv[1]) / 'files')\nprint('go', flush=True)\n"
        "while True:\n    files.put(os.urandom(2_000_000))\n"
    )
    root = Path(__file__).resolve().parents[2]
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=root, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        while len(everything_in(tmp_path)) < 3:
            pass
        process.kill()
        process.wait()
        process.stdout.close()
    files = Files(tmp_path / "files")
    whole = [path for path in everything_in(tmp_path) if not path.name.startswith(".tmp-")]
    assert whole
    assert all(hashlib.sha256(files.get(path.name)).hexdigest() == path.name for path in whole)
