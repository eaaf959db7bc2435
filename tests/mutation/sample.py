"""Keep a random sample of the mutants of a session: as many of each module, and the same ones for the same seed.

Usage: python tests/mutation/sample.py SESSION NUMBER SEED
"""

import random
import re
import sqlite3
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path

_MUTANTS = """
    SELECT module_path, operator_name, start_pos_row, job_id FROM mutation_specs
    WHERE job_id NOT IN (SELECT job_id FROM work_results)
    ORDER BY module_path, start_pos_row, start_pos_col, operator_name, operator_args, occurrence
"""
# No test could judge these: an annotation (it fails at once), and what a decorator forbids.
_IDLE = {"core/ReplaceBinaryOperator_BitOr_BitAnd": re.compile(r"->|\| None|: \w+ \| "), "": re.compile(r"@dataclass")}


def keep_sample(session: Path, number: int, seed: int) -> dict[str, int]:
    """Delete all pending mutants but `number` of each module; return how many each module has left."""
    with closing(sqlite3.connect(session)) as database, database:
        by_module: dict[str, list[str]] = defaultdict(list)
        mutants = database.execute(_MUTANTS).fetchall()
        for module, operator, line, job in mutants:
            if not _is_idle(operator, Path(module).read_text(encoding="utf-8").splitlines()[line - 1]):
                by_module[module].append(job)
        kept = {
            module: set(random.Random(f"{seed} {module}").sample(jobs, min(number, len(jobs))))  # noqa: S311
            for module, jobs in by_module.items()
        }
        others = [(job,) for module, _, _, job in mutants if job not in kept.get(module, ())]
        database.executemany("DELETE FROM mutation_specs WHERE job_id = ?", others)
        database.executemany("DELETE FROM work_items WHERE job_id = ?", others)
    return {module: len(jobs) for module, jobs in kept.items()}


def _is_idle(operator: str, line: str) -> bool:
    return any(pattern.search(line) for prefix, pattern in _IDLE.items() if operator.startswith(prefix))


if __name__ == "__main__":
    for name, count in keep_sample(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])).items():
        print(f"{count:4} {name}")
