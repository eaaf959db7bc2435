"""Which values of a config are searched, and between what: the `[search]` table of a TOML file."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from optuna.trial import BaseTrial
from pydantic import ConfigDict, TypeAdapter, ValidationError

from training.overrides import toml_value

Choice = str | int | float | bool | list[str | int | float]


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `low` to `high`, both included: whole ones if both are; `log` spreads them over magnitudes."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    low: int | float
    high: int | float
    log: bool = False

    def __post_init__(self) -> None:
        if self.low >= self.high or (self.log and self.low <= 0):
            raise ValueError(f"a range goes up, and on a log scale starts above 0: {self.low} to {self.high}")


@dataclass(frozen=True, slots=True)
class Choices:
    """One of several values."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    choices: tuple[Choice, ...]

    def __post_init__(self) -> None:
        if len(self.choices) < 2:
            raise ValueError("a choice is between two values or more")


@dataclass(frozen=True, slots=True)
class Search:
    """The keys that are searched, dotted as for `--set`, and their values."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    search: dict[str, Range | Choices]

    def __post_init__(self) -> None:
        if not self.search:
            raise ValueError("there is nothing to search")

    def draw(self, trial: BaseTrial) -> list[str]:
        """Let a trial choose every value; give them as assignments for `--set`."""
        return [f"{key}={_drawn(trial, key, values)}" for key, values in self.search.items()]


_ADAPTER = TypeAdapter(Search)


def read_search(path: Path) -> Search:
    """Read the ranges of a file.

    Raises:
        ValueError: If the file is not one of ranges; the message names the wrong places.
    """
    try:
        return _ADAPTER.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        # A wrong value is neither a range nor a choice, and the reasons for both are given.
        reasons = "; ".join(f"{'.'.join(map(str, reason['loc']))}: {reason['msg']}" for reason in error.errors())
        raise ValueError(f"{path.name}: {reasons}") from error


def _drawn(trial: BaseTrial, key: str, values: Range | Choices) -> str:
    if isinstance(values, Choices):
        # As text, because the storage takes no lists.
        return str(trial.suggest_categorical(key, [toml_value(choice) for choice in values.choices]))
    if isinstance(values.low, int) and isinstance(values.high, int):
        return toml_value(trial.suggest_int(key, values.low, values.high, log=values.log))
    return toml_value(trial.suggest_float(key, values.low, values.high, log=values.log))
