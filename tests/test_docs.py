"""What the documentation names exists: files, folders, modules, commands and their options; and it stays readable."""

import ast
import dataclasses
import hashlib
import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import typer
from streamlit import config as streamlit_config
from typer.core import TyperCommand, TyperGroup

from core.settings import Settings

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
PACKAGES = ("core", "db", "service", "training", "pages", "tests")
LONGEST_LINE = 120
README_BYTES = 7000
APACHE_2_0 = "283ea6cc2997a1a70da0049e09adf9317bb60ca1b51279b65196b83a69e1996b"

# Files and folders that the program or whoever runs it makes; they are named and not part of the project.
MADE = {
    *("data/", ".venv", ".venv/bin/activate", "breakhis/", ".streamlit/secrets.toml"),
    *(
        "labels.csv",
        "patients.csv",
        "images.csv",
        "models/ours.safetensors",
        "scores.imrmc",
        "second_read.dump",
        "sbom.json",
        "small.txt",
    ),
    *("secrets/", "secrets/postgres_password", "secrets/second_read_database", ".venv/bin/pip", ".venv/bin/python"),
}
# Endings by which a word without a slash is a file; one such as `training.evaluate` is none.
ENDINGS = "css|csv|dump|html|imrmc|js|json|md|png|py|safetensors|sh|sqlite|svg|tar|toml|txt|yaml"

_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\]\(([^)#]+)")
_PATH = re.compile(rf"\.?[\w<>*-][\w.<>*-]*(/[\w.<>*-]+)*/|\.?[\w<>*-][\w.<>*-]*(/[\w.<>*-]+)+|[\w<>*.-]+\.({ENDINGS})")
_MODULE = re.compile(rf"({'|'.join(PACKAGES)})(\.\w+)+")
_NAMES_IN_FILE = re.compile(r"((?:`[A-Za-z_][\w.]*`(?:, and | and | or |, )?)+) (?:of|in) `([\w/]+\.py)`")
_DECISION = re.compile(r"\*\*Decision\*\* .+\\\n\*\*Why\*\* .+\\\n\*\*Not chosen\*\* .+")


@dataclass(frozen=True, slots=True)
class Text:
    """A document: its prose, and the lines of its code blocks with the language of each."""

    prose: str
    lines: tuple[tuple[str, str], ...]

    def quoted(self) -> list[str]:
        """Return the words in backticks, each on one line."""
        return [" ".join(word.split()) for word in _WORD.findall(self.prose)]

    def commands(self) -> Iterator[list[str]]:
        """Return the words of every command, without comments, in code blocks and in backticks."""
        blocks = [line for language, line in self.lines if not language]
        for line in (*blocks, *self.quoted()):
            for command in re.split(r"&&|\|\||;|\$\(|\)$", line):
                try:
                    words = shlex.split(command, comments=True)
                except ValueError:
                    continue  # a line of prose with an apostrophe
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                    words = words[1:]
                yield words


@cache
def read(document: Path) -> Text:
    """Split a document into prose and code."""
    text = document.read_text(encoding="utf-8")
    lines = [(found[1], line.strip()) for found in _FENCE.finditer(text) for line in found[2].splitlines()]
    return Text(_FENCE.sub("", text), tuple(lines))


def names_of_files(text: Text) -> Iterator[str]:
    """Return what is named as a file or folder: words in backticks, links, and the words of plain code blocks."""
    blocks = (line.partition("#")[0] for language, line in text.lines if not language)
    for word in (*text.quoted(), *_LINK.findall(text.prose), *(word for line in blocks for word in line.split())):
        if _PATH.fullmatch(word):
            yield word


def exists(name: str) -> bool:
    """Return whether a file or folder is in the project; `<...>` and `*` stand for any name."""
    pattern = re.sub(r"<\w+>", "*", name).rstrip("/")
    kinds = (Path.is_dir,) if name.endswith("/") else (Path.is_file, Path.is_dir)
    return any(is_kind(found) for found in ROOT.glob(pattern) for is_kind in kinds)


def file_of(module: str) -> Path | None:
    """Return the file that `python -m` runs for a module of ours; None if there is none."""
    place = ROOT.joinpath(*module.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__main__.py") if file.is_file()), None)


@cache
def command_of(module: str) -> object:
    """Return the command line of a module of ours, without running it."""
    place = file_of(module)
    assert place, module
    loaded = importlib.import_module(f"{module}.__main__" if place.name == "__main__.py" else module)
    app = getattr(loaded, "app", None)
    if not isinstance(app, typer.Typer):
        app = typer.Typer()
        app.command()(loaded.run)
    return typer.main.get_command(app)


def unknown_options(module: str, words: list[str]) -> list[str]:
    """Return the subcommands and options that the command line of a module does not know."""
    command = command_of(module)
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return [words[0]]
        command, words = command.commands[words[0]], words[1:]
    assert isinstance(command, TyperCommand | TyperGroup), command
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]


def defined_in(module: Path) -> set[str]:
    """Return the functions and classes of a module, read without importing it."""
    body = ast.parse(module.read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}


def module_exists(name: str) -> bool:
    """Return whether a dotted name is a module or package of ours, or something defined in one."""
    place = ROOT.joinpath(*name.split("."))
    if place.is_dir() or place.with_suffix(".py").is_file():
        return True
    outer, _, last = name.rpartition(".")
    parent = ROOT.joinpath(*outer.split("."))
    files = [parent.with_suffix(".py"), parent / "__init__.py"]
    return any(file.is_file() and last in defined_in(file) for file in files)


def by_name(document: Path) -> str:
    return str(document.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_every_file_that_is_named_exists(document: Path) -> None:
    named = set(names_of_files(read(document)))
    assert sorted(name for name in named - MADE if not exists(name)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_names_stand_in_the_file_they_are_said_to_be_in(document: Path) -> None:
    for names, file in _NAMES_IN_FILE.findall(" ".join(read(document).prose.split())):
        code = (ROOT / file).read_text(encoding="utf-8")
        for name in _WORD.findall(names):
            assert re.search(rf"\b{name.rpartition('.')[2]}\b", code), f"{name} is not in {file}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_every_module_that_is_named_exists(document: Path) -> None:
    named = {word for word in read(document).quoted() if _MODULE.fullmatch(word)}
    assert sorted(name for name in named if not exists(name) and not module_exists(name)) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_every_command_exists_and_knows_its_options(document: Path) -> None:
    wrong = []
    for words in read(document).commands():
        if words[:1] in (["python"], ["python3"], ["torchrun"]) and "-m" in words:
            module, *rest = words[words.index("-m") + 1 :]
            if module.partition(".")[0] not in PACKAGES:
                wrong += [module] if importlib.util.find_spec(module) is None else []
            elif file_of(module) is None:
                wrong.append(module)
            else:
                wrong += [f"{module} {word}" for word in unknown_options(module, rest)]
        elif words[:1] == ["bash"]:
            wrong += [] if (ROOT / words[1]).is_file() else [words[1]]
        elif words[:2] == ["streamlit", "run"]:
            options = {f"--{name}" for name in streamlit_config.get_config_options()}
            wrong += [] if (ROOT / words[2]).is_file() else [words[2]]
            wrong += [word for word in words if word.startswith("--") and word not in options]
    assert wrong == []


def test_commands_are_found_at_all() -> None:
    """A change of the documents' form must not leave these tests with nothing to look at."""
    commands = [words for document in DOCUMENTS for words in read(document).commands()]
    modules = {words[words.index("-m") + 1] for words in commands if words[:1] == ["python"] and "-m" in words}
    assert {"core", "db", "training.train", "training.evaluate", "training.benchmark"} <= modules
    assert ["streamlit", "run", "streamlit_app.py"] in commands
    assert ["bash", "tests/run.sh"] in commands


def test_an_option_or_a_command_that_does_not_exist_is_noticed() -> None:
    assert unknown_options("db", ["accounts", "add", "NAME", "--role", "reader"]) == []
    assert unknown_options("db", ["accounts", "add", "--rolle", "reader"]) == ["--rolle"]
    assert unknown_options("db", ["accounts", "added"]) == ["added"]
    assert unknown_options("training.download", ["breakhis", "--sha256", "x", "--sha512=y"]) == ["--sha512=y"]
    assert file_of("training.nowhere") is None
    assert not exists("core/nowhere.py")
    assert not exists("README.md/")
    assert not module_exists("core.pipeline.nowhere")


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=by_name)
def test_no_line_is_longer_than_a_screen(document: Path) -> None:
    lines = document.read_text(encoding="utf-8").splitlines()
    assert [number for number, line in enumerate(lines, start=1) if len(line) > LONGEST_LINE] == []


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) < README_BYTES


def test_the_readme_names_every_setting_and_no_other() -> None:
    table = re.findall(r"^\| `SECOND_READ_(\w+)`", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name.lower() for name in table} == {field.name for field in dataclasses.fields(Settings)}


def test_every_document_is_listed_in_the_readme() -> None:
    named = set(read(ROOT / "README.md").quoted())
    assert [name for name in map(by_name, DOCUMENTS[1:]) if name not in named] == []


def test_every_decision_has_its_three_lines() -> None:
    _, *decisions = (part for part in (ROOT / "docs/decisions.md").read_text(encoding="utf-8").strip().split("\n\n"))
    wrong = [part for part in decisions if part.startswith("**") and not _DECISION.fullmatch(part)]
    assert wrong == []
    assert any(part.startswith("**Decision**") for part in decisions)


def test_the_licence_of_the_shipped_weights_stands_beside_them() -> None:
    notice, _, licence = (ROOT / "models" / "LICENSE-starter.txt").read_text(encoding="utf-8").partition("-" * 80)
    assert "ML Illustrated" in notice
    # The text that the Apache Software Foundation publishes, without the empty lines before and after it.
    assert hashlib.sha256(licence.strip().encode()).hexdigest() == APACHE_2_0
    unlicensed = {path.name for path in (ROOT / "models").glob("*.safetensors") if path.name not in notice}
    assert unlicensed == set()
