"""Programs of tests as processes of their own, forked from one that has already imported what they need.

A new Python takes 1.3 s to import the store and 9 s to import training: far longer than what the program does, which
is often to be killed. A forked one is as real a process: it has its own memory, files and signals.
"""

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
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

_LONGEST = 150_000  # bytes of a message: a program with its arguments and its environment


@dataclass(frozen=True, slots=True)
class Ended:
    """What is left of a program: its status, negative if a signal ended it, and what it wrote."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Program:
    """A running program, with what it reads and what it has written."""

    pid: int
    stdin: TextIO
    stdout: TextIO
    _errors: IO[bytes]
    _parent: "_Parent"

    def poll(self) -> int | None:
        """Return the status of a program that has ended; None while it runs."""
        return self._parent.status(self.pid)

    def wait(self) -> int:
        """Wait until it has ended, and return its status."""
        while (status := self.poll()) is None:
            time.sleep(0.002)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it is known to have ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)

    def finish(self) -> Ended:
        """Wait until it has ended, and return what is left of it."""
        said = self.stdout.read()
        status = self.wait()
        self._errors.seek(0)
        return Ended(status, said, self._errors.read().decode(errors="replace"))


@contextmanager
def running(code: str, *arguments: object, imported: Sequence[str] = STORE) -> Iterator[Program]:
    """Run a program as `python -c` does, or a module if it is named as after `-m`, and kill it when the block ends."""
    with tempfile.TemporaryFile() as errors:
        (theirs, write), (read, said) = os.pipe(), os.pipe()
        parent = _parent(tuple(imported))
        pid = parent.start([code, *map(str, arguments)], (theirs, said, errors.fileno()))
        os.close(theirs)
        os.close(said)
        with open(write, "w") as stdin, open(read) as stdout:  # noqa: PTH123 - of pipes
            program = Program(pid, stdin, stdout, errors, parent)
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
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.helpers.forked", str(theirs.fileno()), *imported]
        self._process = subprocess.Popen(command, cwd=PROJECT, pass_fds=[theirs.fileno()])
        theirs.close()

    def start(self, command: list[str], files: tuple[int, int, int]) -> int:
        """Start a program with standard input, output and error, and return its number."""
        message = json.dumps([command, str(Path.cwd()), dict(os.environ)]).encode()
        assert len(message) < _LONGEST
        socket.send_fds(self._socket, [message], files)
        pid = int(self._socket.recv(100))
        self._ended.pop(pid, None)
        return pid

    def status(self, pid: int) -> int | None:
        """Return the status of a program that has ended; None while it runs."""
        if pid not in self._ended:
            self._socket.send(str(pid).encode())
            answer = json.loads(self._socket.recv(100))
            if answer is None:
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
