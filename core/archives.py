"""Read the members of a tar archive from anywhere: one at a time, with bounded headers, whatever it claims."""

import tarfile
from collections.abc import Iterator
from typing import IO, BinaryIO, cast

# Before one member. A file has its own header, and at most a few more with a long name, its times and its attributes.
_MOST_HEADER_BYTES = 1 << 20
_MOST_HEADERS = 64


class TarReader:
    """Iterates over the members of a tar archive, and opens the one that came last.

    Raises:
        tarfile.TarError: From the constructor and the iteration, if the archive is damaged or its headers are too long.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = _HeaderStream(stream)
        self._archive = tarfile.open(fileobj=cast(IO[bytes], self._stream), mode="r:")  # noqa: SIM115 - not ours to close

    def __iter__(self) -> Iterator[tarfile.TarInfo]:
        while True:
            self._stream.expect_headers()
            info = self._archive.next()
            if info is None:
                return
            # tarfile keeps all of them, with their attributes, in a list that its types do not know.
            self._archive.members.clear()  # type: ignore[attr-defined]
            self._stream.expect_data()
            yield info

    @property
    def header_bytes(self) -> int:
        """The bytes of all headers so far."""
        return self._stream.header_bytes

    def open(self, info: tarfile.TarInfo) -> IO[bytes]:
        """Return the bytes of a member that is a file."""
        return cast(IO[bytes], self._archive.extractfile(info))  # None only for members that are not files


class _HeaderStream:
    """A stream that counts what is read for headers, and refuses more than one member may have.

    tarfile reads a header of any length into memory, and follows a chain of headers of any number.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell
        self.header_bytes = 0
        self.expect_headers()

    def expect_headers(self) -> None:
        """Count what is read from now on; the headers of one member follow."""
        self._bytes, self._reads = _MOST_HEADER_BYTES, _MOST_HEADERS

    def expect_data(self) -> None:
        """Leave what is read from now on uncounted."""
        self._reads = -1

    def read(self, size: int) -> bytes:
        if self._reads < 0:
            return self._stream.read(size)
        self._bytes -= size
        self._reads -= 1
        if self._bytes < 0:
            raise tarfile.ReadError(f"it has a header of {size:,} bytes")
        if self._reads < 0:
            raise tarfile.ReadError(f"it has more than {_MOST_HEADERS} headers for one file")
        data = self._stream.read(size)
        self.header_bytes += len(data)
        return data
