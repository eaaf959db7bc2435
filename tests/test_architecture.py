"""The house rules: who may import whom, short files, no second place for Streamlit caches."""

import ast
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
# Modules of core that may import torch; whoever imports one of them imports torch.
TORCH_MODULES = {
    "network",
    "nets.branches",
    "nets.cnn",
    "nets.folding",
    "nets.fusion",
    "nets.lite_weights",
    "views",
    "classifier",
    "checkpoint",
    "precision",
    "fitting",
    "fit.adversarial",
    "fit.averaging",
    "fit.batches",
    "fit.distributed",
    "fit.feature_cache",
    "fit.held_out",
    "fit.loading",
    "fit.losses",
    "fit.objective",
    "fit.phase_run",
    "fit.phases",
    "fit.state",
}
# From core, db takes values only; its commands also need to know where the database is, and write tables.
VALUE_MODULES = {"core.labels", "core.results", "core.card", "core.settings", "core.spreadsheets"}
LONGEST_FILE = 260


def _sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    # The front door's rules are those of pages.
    return [*found, ROOT / "streamlit_app.py"] if package == "pages" else found


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _name_in_core(path: Path) -> str:
    return ".".join(path.relative_to(ROOT / "core").with_suffix("").parts)


def _every_source() -> list[Path]:
    return sorted({path for package in PACKAGES for path in _sources(package)})


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_from_the_rooms_below_it(package: str) -> None:
    for path in _sources(package):
        rooms = {name.split(".")[0] for name in _imports(path)} & set(PACKAGES)
        assert rooms <= MAY_IMPORT[package], f"{path.relative_to(ROOT)} imports {rooms - MAY_IMPORT[package]}"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_never_imports_what_it_must_not_know(package: str) -> None:
    for path in _sources(package):
        outside = {name.split(".")[0] for name in _imports(path)}
        assert not outside & NEVER[package], f"{path.relative_to(ROOT)} imports {outside & NEVER[package]}"


def test_torch_stays_in_its_modules() -> None:
    for path in _sources("core"):
        uses_torch = {name.split(".")[0] for name in _imports(path)} & {"torch", "timm", "safetensors"}
        if uses_torch:
            assert _name_in_core(path) in TORCH_MODULES, f"{path.relative_to(ROOT)} imports {uses_torch}"


def test_the_database_takes_values_only_from_core() -> None:
    for path in _sources("db"):
        modules = {".".join(name.split(".")[:2]) for name in _imports(path) if name.startswith("core.")}
        assert modules <= VALUE_MODULES, f"{path.relative_to(ROOT)} imports {modules - VALUE_MODULES}"


def test_only_the_worker_loads_torch_outside_core_and_training() -> None:
    torch_modules = {f"core.{name}" for name in TORCH_MODULES}
    for package in ("db", "service", "pages"):
        for path in _sources(package):
            if _imports(path) & torch_modules:
                assert path.relative_to(ROOT).as_posix() == "service/worker.py"


def test_streamlit_caches_live_in_one_place() -> None:
    for path in _sources("pages"):
        if path.name != "resources.py":
            assert "st.cache_" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize("path", _every_source(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_says_what_it_is_for_and_stays_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), "the first line says what the module is for"
    assert len(text.splitlines()) <= LONGEST_FILE


def test_no_path_of_one_machine_is_written_down() -> None:
    for path in _every_source():
        text = path.read_text(encoding="utf-8")
        for place in (f"/{name}/" for name in ("root", "home", "opt")):
            assert place not in text, f"{path.relative_to(ROOT)} names {place}"
