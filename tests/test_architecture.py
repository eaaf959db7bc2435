"""The rules of the layers: which package imports which, where torch may be loaded, and no circular imports."""

import ast
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "db", "service", "training", "pages")
MAY_IMPORT = {
    "core": {"core"},
    "db": {"db", "core"},
    "service": {"service", "core", "db"},
    "training": {"training", "core", "db"},
    "pages": {"pages", "core", "db", "service"},
}
NEVER = {
    "core": {"streamlit", "sqlalchemy", "plotly", "fastapi"},
    "db": {"streamlit", "torch", "timm", "cv2"},
    "service": {"streamlit", "torch", "timm"},
    "training": {"streamlit"},
    "pages": {"sqlalchemy", "torch", "timm", "cv2"},
}
# The parts of core that may import torch, and those that the app, the worker and the database never need.
TORCH = re.compile(r"core\.(network|fitting)\b")
TRAINING_ONLY = re.compile(r"core\.(fitting|data)\b")
# From core, db takes values only; its commands also need to know where the database is, and write tables.
VALUE_MODULES = {
    *("core.labels", "core.results", "core.card", "core.settings", "core.files", "core.clock"),
    "core.archives",  # reading a backup
    *("core.list_on_disk", "core.workbook"),  # very many rows of an export
    "core.command_line",  # what all commands share
    *("core.identifiers", "core.natural_order"),  # how case numbers are compared and sorted
    "core.wording",  # counts and figures in words
}
VALUES_OF_IMAGING = re.compile(r"core\.imaging\.scale\b")  # of core.imaging, db knows nothing else
# All of db that the other packages may know.
DB_FOR_OTHERS = re.compile(r"db\.(store|values|database|files|errors)\b")


@cache
def _modules() -> dict[str, Path]:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {_module_name(path): path for path in [*paths, ROOT / "streamlit_app.py"]}


def _module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _modules_of(package: str) -> list[str]:
    # The front door's rules are those of pages.
    also = ["streamlit_app"] if package == "pages" else []
    return [name for name in _modules() if name.split(".")[0] == package] + also


@cache
def _imports(module: str) -> frozenset[str]:
    """Name what a module imports anywhere, names inside modules included."""
    return frozenset(_imported(ast.walk(ast.parse(_modules()[module].read_text(encoding="utf-8")))))


def _imported(nodes: Iterable[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_from_those_below_it(package: str) -> None:
    for module in _modules_of(package):
        packages = {name.split(".")[0] for name in _imports(module)} & set(PACKAGES)
        assert packages <= MAY_IMPORT[package], f"{module} imports {packages - MAY_IMPORT[package]}"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_never_imports_what_it_must_not_know(package: str) -> None:
    for module in _modules_of(package):
        outside = {name.split(".")[0] for name in _imports(module)}
        assert not outside & NEVER[package], f"{module} imports {outside & NEVER[package]}"


def test_torch_stays_in_networks_and_fitting() -> None:
    for module in _modules_of("core"):
        if {name.split(".")[0] for name in _imports(module)} & {"torch", "timm", "safetensors"}:
            assert TORCH.match(module), module


def test_only_the_worker_loads_torch_outside_core_and_training() -> None:
    for package in ("db", "service", "pages"):
        for module in _modules_of(package):
            if any(TORCH.match(name) for name in _imports(module)):
                assert module == "service.worker.process"


def test_pages_do_not_wait_for_scipy_before_they_need_it() -> None:
    """Its import takes longer than that of a whole page."""
    for package in ("core", "db", "service", "pages"):
        for module in _modules_of(package):
            at_start = _imported(iter(ast.parse(_modules()[module].read_text(encoding="utf-8")).body))
            if {name.split(".")[0] for name in at_start} & {"scipy", "sklearn"} and not TRAINING_ONLY.match(module):
                # Comparisons of sets and maps, which are commands'.
                statistics = ("compare_sets", "compare_maps")
                assert module in {f"core.statistics.{name}" for name in statistics}, module


def test_the_app_needs_nothing_that_only_training_needs() -> None:
    for package in ("core", "db", "service", "pages"):
        for module in _modules_of(package):
            if not TRAINING_ONLY.match(module):
                needed = {name for name in _imports(module) if TRAINING_ONLY.match(name)}
                assert not needed, f"{module} imports {needed}"


def test_the_database_takes_values_only_from_core() -> None:
    for module in _modules_of("db"):
        known = {name for name in _imports(module) if name.startswith("core.") and not VALUES_OF_IMAGING.match(name)}
        modules = {".".join(name.split(".")[:2]) for name in known}
        assert modules <= VALUE_MODULES, f"{module} imports {modules - VALUE_MODULES}"


def test_other_packages_know_only_the_store_the_values_and_the_files_of_the_database() -> None:
    for package in PACKAGES:
        for module in _modules_of(package) if package != "db" else ():
            inside = {name for name in _imports(module) if name.startswith("db.") and not DB_FOR_OTHERS.match(name)}
            assert not inside, f"{module} imports {inside}"


@pytest.mark.parametrize(
    ("layer", "may_import"),
    [
        ("db.values", r"db\.values\b"),
        ("db.tables", r"db\.(values|tables)\b"),
        ("db.queries", r"db\.(values|tables|errors|audit|queries)\b"),
        ("db.projection", r"db\.(values|tables|errors|audit|queries|projection)\b"),
        ("db.store", r"db\.(values|tables|errors|audit|queries|projection|store|database|files)\b"),
    ],
)
def test_a_layer_of_the_database_imports_only_from_those_below_it(layer: str, may_import: str) -> None:
    modules = [name for name in _modules_of("db") if name == layer or name.startswith(f"{layer}.")]
    assert modules
    for module in modules:
        above = {name for name in _imports(module) if name.startswith("db.") and not re.match(may_import, name)}
        assert not above, f"{module} imports {above}"


def test_no_module_imports_itself_through_others() -> None:
    """A circle works until somebody imports its modules in another order."""
    known = _modules()
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module in done:
            return
        tree = ast.parse(known[module].read_text(encoding="utf-8"))
        for name in sorted(_imported(iter(tree.body)) & known.keys() - {module}):
            # A package's own modules are imported by name; the package itself imports nothing of them but db.store.
            if not module.startswith(f"{name}."):
                visit(name, (*path, module))
        done.add(module)

    for module in known:
        visit(module, ())


def test_commands_print_through_the_console_that_knows_no_markup() -> None:
    """A name in square brackets is markup to any other console of rich."""
    for module in _modules():
        if module != "core.console":
            used = _imports(module) & {"rich.console.Console", "rich.markup", "rich.print", "rich.progress.TextColumn"}
            assert not used, f"{module} imports {used}"


def test_streamlit_caches_live_in_one_place() -> None:
    for module in _modules_of("pages"):
        if module != "pages.ui.resources":
            assert "st.cache_" not in _modules()[module].read_text(encoding="utf-8"), module


@pytest.mark.parametrize("module", sorted(_modules()))
def test_a_file_says_what_it_is_for(module: str) -> None:
    assert ast.get_docstring(ast.parse(_modules()[module].read_text(encoding="utf-8"))), module


@pytest.mark.parametrize("module", sorted(_modules()))
def test_no_path_of_one_machine_is_written_down(module: str) -> None:
    text = _modules()[module].read_text(encoding="utf-8")
    for folder in (f"/{name}/" for name in ("root", "home", "opt")):
        assert folder not in text, f"{module} names {folder}"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_holds_modules(package: str) -> None:
    """A folder with nothing but a docstring in `__init__.py` is what a move left behind."""
    for folder in {path.parent for path in (ROOT / package).rglob("__init__.py")}:
        assert any(len(ast.parse(path.read_text(encoding="utf-8")).body) > 1 for path in folder.rglob("*.py")), folder
