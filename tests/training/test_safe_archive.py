import gzip
import io
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.archives import make_tar, make_zip
from training.fetch import ArchiveLimits, UnsafeArchiveError, unpack

FILES = {
    "a/1.png": os.urandom(3000),
    "a/b/2.png": os.urandom(100),
    "3.png": b"",
    "__MACOSX/a/._1.png": b"x",
    "._3.png": b"x",
}


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
def test_files_come_out_as_they_went_in_without_litter(tmp_path: Path, name: str) -> None:
    archive = (make_zip if name == "a.zip" else make_tar)(tmp_path / name, FILES)
    ticks: list[int] = []
    unpack(archive, tmp_path / "out", progress=ticks.append)
    found = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {name: data for name, data in FILES.items() if "._" not in name}
    assert len(ticks) == 3
    assert leftovers(tmp_path) == sorted([name, "out"])


@pytest.mark.parametrize("make", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../out.png", "a/../../out.png", "/out.png", "C:/out.png", "..\\out.png"])
def test_nothing_is_written_outside_the_folder(tmp_path: Path, make: str, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    archive = (make_zip if make == "zip" else make_tar)(inner / "a", {"good.png": b"1" * 2000, name: b"2" * 2000})
    with pytest.raises(UnsafeArchiveError, match="outside its folder"):
        unpack(archive, inner / "images")
    assert leftovers(inner) == ["a"]
    assert leftovers(tmp_path) == ["inner"]


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE],
    ids=["symlink", "link", "device", "fifo"],
)
def test_links_and_devices_of_a_tar_are_refused(tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(UnsafeArchiveError, match="a link or a device: inside"):
        unpack(make_tar(tmp_path / "a.tar", {"inside": b""}, kind, link="../a.tar"), tmp_path / "out")


def test_links_and_encrypted_files_of_a_zip_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeArchiveError, match="a link or a device: inside"):
        unpack(make_zip(tmp_path / "a.zip", {"inside": b"../a.zip"}, stat.S_IFLNK | 0o777), tmp_path / "out")
    archive = make_zip(tmp_path / "b.zip", {"inside": b"1"})
    data = bytearray(archive.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(UnsafeArchiveError, match="encrypted: inside"):
        unpack(archive, tmp_path / "out")


@pytest.mark.parametrize("make", ["zip", "tar"])
def test_limits_hold_on_both_sides(tmp_path: Path, make: str) -> None:
    files = {f"{n}.png": os.urandom(1000) for n in range(5)}
    archive = (make_zip if make == "zip" else make_tar)(tmp_path / "a", files)
    assert unpack(archive, tmp_path / "in", ArchiveLimits(total_bytes=5000, files=5)) == 5
    with pytest.raises(UnsafeArchiveError, match="more than 4,999 bytes"):
        unpack(archive, tmp_path / "out", ArchiveLimits(total_bytes=4999))
    with pytest.raises(UnsafeArchiveError, match="more than 4 files"):
        unpack(archive, tmp_path / "out", ArchiveLimits(files=4))
    assert leftovers(tmp_path) == ["a", "in"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize("file", ["big.png", "__MACOSX/big.png"])
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, name: str, file: str) -> None:
    archive = (make_zip if name == "a.zip" else make_tar)(tmp_path / name, {file: bytes(30_000_000)})
    assert archive.stat().st_size < 100_000
    with pytest.raises(UnsafeArchiveError, match="and 30 times its own size"):
        unpack(archive, tmp_path / "out")
    assert leftovers(tmp_path) == [name]


def test_a_zip_that_lies_about_its_sizes_is_stopped(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"big.png": bytes(5_000_000)})
    data = archive.read_bytes().replace((5_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    archive.write_bytes(data)
    with pytest.raises(UnsafeArchiveError):
        unpack(archive, tmp_path / "out")
    assert leftovers(tmp_path) == ["a.zip"]


def test_a_tar_header_of_any_length_is_not_read_into_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("pax")
    info.type, info.size = tarfile.XHDTYPE, 20_000_000
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.USTAR_FORMAT) + bytes(20_000_512))
    with pytest.raises(UnsafeArchiveError, match="a header of 20,000"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def header(kind: bytes, size: int = 0, name: str = "x") -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["tar", "gz"])
@pytest.mark.parametrize(
    ("archive", "said"),
    [
        (b"".join(header(tarfile.XHDTYPE, 400_000) + bytes(400_384) for _ in range(3)), "a header of"),
        ((header(tarfile.XHDTYPE, 1) + bytes(512)) * 2_000, "more than 64 headers for one file"),
        ((header(tarfile.GNUTYPE_LONGNAME, 1) + bytes(512)) * 2_000, "more than 64 headers for one file"),
        (header(tarfile.XGLTYPE, 1).ljust(1024, b"\0") * 2_000, "more than 64 headers for one file"),
        (b"".join(header(tarfile.DIRTYPE, name=f"{n}") for n in range(20_001)), "20,000 folders|bytes of headers"),
    ],
    ids=["long", "pax", "long names", "global", "folders"],
)
def test_an_archive_of_headers_is_not_read_through(
    tmp_path: Path, archive: bytes, said: str, pack: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "a.tar").write_bytes(pack(archive + header(tarfile.REGTYPE) + bytes(10_240)))
    with pytest.raises(UnsafeArchiveError, match=said):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert leftovers(tmp_path) == ["a.tar"]


def test_headers_that_pack_to_nothing_are_bounded_by_the_size_of_the_archive(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(
        gzip.compress(b"".join(header(tarfile.REGTYPE, name=f"{n}") for n in range(4_000)))
    )
    with pytest.raises(UnsafeArchiveError, match="more than 1,048,576 bytes of headers"):
        unpack(tmp_path / "a.tar", tmp_path / "out")


def test_files_with_long_names_and_attributes_come_out_as_they_went_in(tmp_path: Path) -> None:
    name = "/".join(["a long name of a folder " * 8] * 4) + "/1.png"
    for number, layout in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)):
        with tarfile.open(tmp_path / f"{number}.tar", "w", format=layout) as archive:
            for file in (name, "Müller/2.png"):
                info = tarfile.TarInfo(file)
                info.size, info.pax_headers = 1000, {"SCHILY.xattr.user.comment": "x" * 60_000}
                archive.addfile(info, io.BytesIO(bytes(1000)))
        assert unpack(tmp_path / f"{number}.tar", tmp_path / f"out{number}") == 2
        assert (tmp_path / f"out{number}" / name).stat().st_size == 1000


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
def test_a_truncated_or_strange_archive_is_said_so(tmp_path: Path, name: str) -> None:
    archive = (make_zip if name == "a.zip" else make_tar)(tmp_path / name, FILES)
    archive.write_bytes(archive.read_bytes()[:-1500])
    with pytest.raises(UnsafeArchiveError, match=f"{name} is damaged"):
        unpack(archive, tmp_path / "out")
    archive.write_bytes(b"<html>log in first</html>" * 100)
    with pytest.raises(UnsafeArchiveError, match=f"{name} is damaged or of an unsupported kind"):
        unpack(archive, tmp_path / "out")
    assert leftovers(tmp_path) == [name]


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("1.png"))
        archive.addfile(tarfile.TarInfo("1.png"))
    with pytest.raises(UnsafeArchiveError, match=r"contains 1\.png twice"):
        unpack(tmp_path / "a.tar", tmp_path / "out")
