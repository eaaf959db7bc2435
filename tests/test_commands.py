"""Every command has a help with an example, is left with status 2 if used wrongly, and ends in no bare traceback."""

import errno
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup
from typer.testing import CliRunner, Result

from core.command_line import make_app, run_app
from tests.test_architecture import ROOT

# Started by the benchmark in processes of their own, never by a person.
_CHILDREN = {f"training.benchmark.{name}" for name in ("import_time", "input_memory", "load_time")}
_PROGRAMS = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("core", "db", "service", "training")
    for path in (ROOT / package).rglob("*.py")
    if 'if __name__ == "__main__":' in path.read_text(encoding="utf-8")
)
_COMMANDS = [program for program in _PROGRAMS if program not in _CHILDREN]


def app_of(program: str) -> typer.Typer:
    app = importlib.import_module(program).app
    assert isinstance(app, typer.Typer), program
    return app


def commands_of(program: str) -> Iterator[tuple[list[str], TyperCommand]]:
    """Return every command of a program with the words that choose it."""

    def inside(words: list[str], command: object) -> Iterator[tuple[list[str], TyperCommand]]:
        if isinstance(command, TyperGroup):
            for name, one in command.commands.items():
                yield from inside([*words, name], one)
        else:
            assert isinstance(command, TyperCommand)
            yield words, command

    return inside([], typer.main.get_command(app_of(program)))


def run(program: str, *words: str) -> Result:
    """Run a command; anything else than an exit is raised."""
    done = CliRunner().invoke(app_of(program), list(words), input="")
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in an empty folder with an empty database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECOND_READ_DATA", str(tmp_path / "data"))


@pytest.mark.parametrize("program", _COMMANDS)
def test_every_command_has_a_help_with_an_example_that_it_understands(program: str) -> None:
    for words, command in commands_of(program):
        shown = run(program, *words, "--help")
        assert shown.exit_code == 0
        assert "Example:" in shown.output, words
        assert command.epilog is not None
        start = ["python", "-m", program.removesuffix(".__main__"), *words]
        example = shlex.split(command.epilog.removeprefix("Example: "))
        assert example[: len(start)] == start
        values, rest, _ = command.make_parser(typer.Context(command)).parse_args(example[len(start) :])
        assert rest == []
        lacking = [one.name for one in command.params if one.required and not values.get(str(one.name))]
        assert lacking == [], (words, lacking)


@pytest.mark.parametrize("program", ["core.__main__", "db.__main__"])
def test_the_help_of_a_group_ends_with_the_example_of_one_of_its_commands(program: str) -> None:
    def look(words: list[str], group: TyperGroup) -> None:
        shown = run(program, *words, "--help")
        assert "Example:" in shown.output, words
        assert group.epilog in {one.epilog for one in group.commands.values()}
        for name, inner in group.commands.items():
            if isinstance(inner, TyperGroup):
                look([*words, name], inner)

    whole = typer.main.get_command(app_of(program))
    assert isinstance(whole, TyperGroup)
    look([], whole)


@pytest.mark.parametrize("program", _COMMANDS)
def test_wrong_use_is_told_with_status_2(program: str) -> None:
    for words, command in commands_of(program):
        assert run(program, *words, "--no-such-option").exit_code == 2, words
        if not any(isinstance(one, TyperArgument) and one.nargs == -1 for one in command.params):
            assert run(program, *words, *["too"] * 9).exit_code == 2, words
        if any(one.required for one in command.params):
            assert run(program, *words).exit_code == 2, words


@pytest.mark.parametrize("program", _COMMANDS)
def test_files_that_are_not_there_are_told_in_a_sentence_with_status_2(program: str) -> None:
    for words, command in commands_of(program):
        example = shlex.split(str(command.epilog))[4 + len(words) :]
        if any(re.fullmatch(r"[A-Z]{4,}|.*/|.*\.\w+", word) for word in example) and words[:1] != ["accounts"]:
            done = run(program, *words, *example)
            assert done.exit_code == 2, (words, done.output)
            assert "Traceback" not in done.output
            assert len(done.output.split()) > 3, done.output


def test_an_error_of_the_program_is_called_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["divide"])

    def divide() -> None:
        raise ZeroDivisionError

    with pytest.raises(SystemExit) as stopped:
        run_app(make_app(divide, "python -m divide"))
    assert stopped.value.code not in (0, 1, 2)
    assert capsys.readouterr().err.endswith("error in the program. Please report it with the lines above.\n")


def test_a_command_whose_output_nobody_reads_any_more_ends_without_a_word() -> None:
    def print_all() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    done = CliRunner().invoke(make_app(print_all, "python -m all", OSError))
    assert (done.exit_code, done.output) == (1, "")


def test_a_setting_that_cannot_be_used_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECOND_READ_WORKERS", "many")
    monkeypatch.setattr("sys.argv", ["db", "accounts", "list"])
    with pytest.raises(SystemExit) as stopped:
        run_app(app_of("db.__main__"))
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("SECOND_READ_WORKERS=many: ")
    assert said.count("\n") == 1
