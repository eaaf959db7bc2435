"""Reads the file of a run with some of its values replaced: `--set phases.0.epochs=1`."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.fit_config import FitConfig

EVERY = "*"  # in place of an index: every part of a list


def read_config(path: Path, assignments: Sequence[str] = ()) -> tuple[FitConfig, str]:
    """Give the config of a file and the text that reads as the same config.

    An assignment is KEY=VALUE with a dotted key and a TOML value; a value that is not TOML is taken as text. Parts of a
    list are counted from 0, `*` stands for all of them, and nothing after the equals sign leaves the key out.

    Raises:
        ValueError: If the file or an assignment is not valid; the message names it.
    """
    text = path.read_text(encoding="utf-8")
    table = tomllib.loads(text)
    if not assignments:
        return FitConfig.from_table(table, path.name), text
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key:
            raise ValueError(f"--set wants KEY=VALUE, got {assignment!r}")
        _assign(table, key.strip(), value.strip())
    head = "".join(f"# --set {assignment}\n" for assignment in assignments)
    return FitConfig.from_table(table, path.name), f"# {path.name} with\n{head}{to_toml(table)}"


def to_toml(table: Mapping[str, object]) -> str:
    """Write a table that was read from TOML as TOML; comments are lost."""
    return "\n".join(_lines(table, "")) + "\n"


def toml_value(value: object) -> str:
    """Write one value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # The escapes of JSON are those of TOML, but for the pairs it makes of characters above U+FFFF, and for DEL.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, list):
        return f"[{', '.join(toml_value(part) for part in value)}]"
    return repr(value)


def _assign(table: object, key: str, value: str) -> None:
    head, dot, rest = key.partition(".")
    if isinstance(table, list):
        for place in _places(table, head, key):
            if dot:
                _assign(table[place], rest, value)
            else:
                table[place] = _parsed(value)
    elif not isinstance(table, dict):
        raise ValueError(f"--set {key}: there is a single value, which has no parts")
    elif dot:
        _assign(table.setdefault(head, {}), rest, value)
    elif value:
        table[head] = _parsed(value)
    else:
        table.pop(head, None)


def _places(parts: Sequence[object], head: str, key: str) -> Sequence[int]:
    if head == EVERY:
        return range(len(parts))
    if not head.isdigit() or int(head) >= len(parts):
        raise ValueError(f"--set ...{key}: {head!r} is not one of the {len(parts)} parts, which count from 0")
    return [int(head)]


def _parsed(value: str) -> object:
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return value


def _lines(table: Mapping[str, object], prefix: str) -> list[str]:
    nested = {key: value for key, value in table.items() if isinstance(value, dict) or _is_tables(value)}
    lines = [f"{key} = {toml_value(value)}" for key, value in table.items() if key not in nested]
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            lines += ["", f"[{name}]", *_lines(value, f"{name}.")]
        elif isinstance(value, list):
            for part in value:
                lines += ["", f"[[{name}]]", *_lines(part, f"{name}.")]
    return lines


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)
