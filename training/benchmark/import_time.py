"""Time the imports of one module in this fresh process: `python -m training.benchmark.import_time core.pipeline`.

Further arguments are modules to import before timing starts, such as the server that imports a page.
"""

import ast
import importlib
import importlib.util
import sys
import time
from pathlib import Path


def import_seconds(module: str) -> float:
    """Run only a module's import statements, because a page would draw itself, and return the seconds.

    Raises:
        RuntimeError: If the module does not exist, or imports torch.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"there is no module {module}")
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    imports: list[ast.stmt] = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    code = compile(ast.Module(imports, []), spec.origin, "exec")
    start = time.perf_counter()
    exec(code, {"__name__": module})  # noqa: S102 - our own source code, read from disk above
    seconds = time.perf_counter() - start
    if "torch" in sys.modules:
        raise RuntimeError(f"{module} imports torch")
    return seconds


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    print(import_seconds(sys.argv[1]))
