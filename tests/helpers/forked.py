"""Programs of tests as processes of their own, forked from one that has already imported what they need.

A new Python takes 1.3 s to import the store, 3 s a server and 9 s training: longer than what most of these programs do,
which often is to be killed. A forked one is as real a process: it has its own memory, files and signals.
"""

import atexit
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO, TextIO

PROJECT = Path(__file__).resolve().parents[2]
STORE = ("db.store", "db.backup.restore", "db.backup.backup", "db.upgrade", "alembic.command", "psycopg")
TRAINING = ("training.runs.run", "training.runs.plan", "core.fitting.loop", "torch._dynamo", "db.store")
_SERVER = (
    *STORE,
    "streamlit.web.cli",
    "streamlit.web.bootstrap",
    "uvicorn",
    "fastapi",
    "pandas",
    "pyarrow",
    "plotly.graph_objects",
    "core.pipeline",
    "core.statistics.drift",
    "core.statistics.site_calibration",
    "service.access.gate",
    "service.api.interface",
    "service.installation",
    "service.routes",
)

_LONGEST = 150_000  # bytes of a message: a program with its arguments and its environment


@dataclass(frozen=True, slots=True)
class Ended:
    """What is left of a program: its status, negative if a signal ended it, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Program:
    """A running program."""

    pid: int
    _parent: "_Parent"

    def poll(self) -> int | None:
        """Return the status of a program that has ended; None while it runs."""
        return self._parent.status(self.pid)

    def wait(self, seconds: float = 600) -> int:
        """Wait until it has ended, and return its status."""
        end = time.monotonic() + seconds
        while (status := self.poll()) is None:
            if time.monotonic() > end:
                raise TimeoutError(f"process {self.pid} has not ended in {seconds:.0f} seconds")
            time.sleep(0.002)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


@dataclass(frozen=True, slots=True)
class PipedProgram(Program):
    """A running program, with what it reads and what it has written."""

    stdin: TextIO
    stdout: TextIO
    _errors: IO[bytes]

    def finish(self) -> Ended:
        """Wait until it has ended, and return what is left of it."""
        said = self.stdout.read()
        status = self.wait()
        self._errors.seek(0)
        return Ended(status, said, self._errors.read().decode(errors="replace"))


def start_server(app: Path, options: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path) -> Program:
    """Run `streamlit run` in a folder, with what it says added to a file; the caller ends it."""
    parent = _parent(_SERVER)
    command = ["streamlit", "run", str(app), *options]
    with log.open("ab") as said, Path(os.devnull).open("rb") as nothing:
        files = (nothing.fileno(), said.fileno(), said.fileno())
        return Program(parent.start(command, folder, {**os.environ, **environment}, files), parent)


@contextmanager
def running(
    code: str, *arguments: object, imported: Sequence[str] = STORE, environment: Mapping[str, str] | None = None
) -> Iterator[PipedProgram]:
    """Run a program as `python -c` does, or a module if it is named as after `-m`, and kill it when the block ends.

    `environment` is added to that of the tests.
    """
    with tempfile.TemporaryFile() as errors:
        (theirs, write), (read, said) = os.pipe(), os.pipe()
        parent = _parent(tuple(imported))
        command = [code, *map(str, arguments)]
        files = (theirs, said, errors.fileno())
        pid = parent.start(command, Path.cwd(), {**os.environ, **(environment or {})}, files)
        os.close(theirs)
        os.close(said)
        with open(write, "w") as stdin, open(read) as stdout:  # noqa: PTH123 - of pipes
            program = PipedProgram(pid, parent, stdin, stdout, errors)
            try:
                yield program
            finally:
                program.kill()
                program.wait()


def run(code: str, *arguments: object, imported: Sequence[str] = STORE) -> Ended:
    """Run a program to its end."""
    with running(code, *arguments, imported=imported) as program:
        return program.finish()


class _Parent:
    """The process that has imported the modules, and starts and buries the programs."""

    def __init__(self, imported: Sequence[str]) -> None:
        self._ended: dict[int, int] = {}
        self._asking = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.helpers.forked", str(theirs.fileno()), *imported]
        self._process = subprocess.Popen(command, cwd=PROJECT, pass_fds=[theirs.fileno()])
        theirs.close()
        atexit.register(self._end)

    def _end(self) -> None:
        self._socket.close()
        self._process.wait()

    def start(self, command: list[str], folder: Path, environment: dict[str, str], files: tuple[int, int, int]) -> int:
        """Start a program in a folder with standard input, output and error, and return its number."""
        message = json.dumps([command, str(folder), environment]).encode()
        assert len(message) < _LONGEST
        with self._asking:
            socket.send_fds(self._socket, [message], files)
            pid = int(self._socket.recv(100))
            self._ended.pop(pid, None)
        return pid

    def status(self, pid: int) -> int | None:
        """Return the status of a program that has ended; None while it runs."""
        with self._asking:
            if pid not in self._ended:
                self._socket.send(str(pid).encode())
                if (answer := json.loads(self._socket.recv(100))) is None:
                    return None
                self._ended[pid] = int(answer)
            return self._ended[pid]


@cache
def _parent(imported: tuple[str, ...]) -> _Parent:
    return _Parent(imported)


def _become_program(asked: socket.socket) -> None:
    """Answer until the tests end; returns in a forked process only, which is to run what `sys.argv` says."""
    while True:
        message, files, _, _ = socket.recv_fds(asked, _LONGEST, 3)
        if not message:
            os._exit(0)
        if not files:
            ended, status = os.waitpid(int(message), os.WNOHANG)
            asked.send(json.dumps(os.waitstatus_to_exitcode(status) if ended else None).encode())
            continue
        child = os.fork()
        if child:
            asked.send(str(child).encode())
            for file in files:
                os.close(file)
            continue
        asked.close()
        for place, file in enumerate(files):
            os.dup2(file, place)
            os.close(file)
        sys.argv, folder, environment = json.loads(message)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        return


def _run_program() -> None:
    code = sys.argv[0]
    if code.replace(".", "").replace("_", "").isalnum():
        runpy.run_module(code, run_name="__main__", alter_sys=True)
        return
    sys.argv[0] = "-c"
    main = sys.modules["__main__"] = ModuleType("__main__")
    exec(compile(code, "<string>", "exec"), main.__dict__)  # noqa: S102 - a program of a test


if __name__ == "__main__":
    for name in sys.argv[2:]:
        import_module(name)
    _become_program(socket.socket(fileno=int(sys.argv[1])))
    _run_program()
