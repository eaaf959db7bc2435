"""Gives nested settings one dotted name each, so that a card can list them."""

from collections.abc import Iterator, Mapping


def flattened(prefix: str, values: Mapping[str, object]) -> Iterator[tuple[str, str | int | float | bool]]:
    """Give every value with its dotted name; parts of a list are numbered from 0, None is "none"."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(f"{prefix}{key}.", value)
        elif isinstance(value, str | int | float):
            yield prefix + key, value
        elif value is None:
            yield prefix + key, "none"
        elif isinstance(value, tuple) and value and isinstance(value[0], Mapping):
            for number, part in enumerate(value):
                yield from flattened(f"{prefix}{key}.{number}.", part)
        elif isinstance(value, tuple):
            yield prefix + key, ", ".join(str(part) for part in value)
