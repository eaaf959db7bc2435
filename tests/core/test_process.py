"""How a process keeps memory and waits, before it computes."""

import ctypes
import os
import platform
import subprocess
import sys

import pytest

from core.process import keep_freed_memory, prepare_process

# Two rounds of big arrays: what the second costs in page faults, after the first has touched the memory.
_ROUNDS = """
import resource, sys
import numpy as np
from core.process import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def work():
    for _ in range(10):
        np.ones(64_000_000, np.uint8)
work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(how: str) -> int:
    return int(subprocess.run([sys.executable, "-c", _ROUNDS, how], check=True, capture_output=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc maps and unmaps")
def test_what_was_freed_is_used_again_without_asking_the_system() -> None:
    assert 10 * _faults("keep") < _faults("leave")


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert not keep_freed_memory()


def test_an_idle_thread_leaves_the_processor_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for given, expected in (({}, "1000"), ({"GOMP_SPINCOUNT": "5"}, "5"), ({"OMP_WAIT_POLICY": "active"}, None)):
        environment: dict[str, str] = dict(given)
        monkeypatch.setattr(os, "environ", environment)
        prepare_process()
        assert environment.get("GOMP_SPINCOUNT") == expected


def test_garbage_is_looked_for_less_often_than_python_does_by_itself() -> None:
    code = "import gc\nbefore = gc.get_threshold()[0]\nimport core\nprint(before < gc.get_threshold()[0])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout == b"True\n"
