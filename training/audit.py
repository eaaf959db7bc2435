"""Audits a dataset or a split for leaks: `python -m training.audit ROOT|LISTS`; exit status 1 when there are any."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from core.datasets import DatasetName, shortfall
from core.leaks import Audit, Conflict, Count, Leak, Member, Placed, audit
from core.sources.picture_hashes import PictureHash, hash_pictures
from training.audit_sources import read_placed

_SHOWN = 40  # findings of one kind; --json has all
_KINDS = {
    "slide": "the same slide",
    "patient": "the same number under other letters, so most likely the same patient",
    "identical picture": "the same picture, to the pixel",
    "near-identical picture": "nearly the same picture",
}
_errors = Console(stderr=True)
_console = Console(soft_wrap=True, highlight=False)


def run(
    source: Annotated[Path, typer.Argument(help="a dataset's folder, dsfoldN.txt lists, or a run's folder")],
    dataset: Annotated[DatasetName, typer.Option(help="what the images in the folder are")] = "breakhis",
    images: Annotated[Path | None, typer.Option(help="folder of the pictures that lists name")] = None,
    *,
    pictures: Annotated[bool, typer.Option(help="compare pictures, not only names")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="everything as one JSON object on stdout")] = False,
) -> None:
    """Look for patients and pictures on both sides of a split, and for what has two labels. Exit status 1 if found."""
    try:
        placed = read_placed(source, dataset, images)
    except (FileNotFoundError, ValueError) as error:
        _errors.print(f"[red]{error}[/red]", soft_wrap=True)
        raise typer.Exit(2) from error
    found = audit(placed, _hashes(placed) if pictures else None)
    distinct = list({one.image.path: one.image for one in placed}.values())
    # The split of a run may be of another dataset than was said, and then has no official counts here.
    missing = shortfall(distinct, dataset) if {image.dataset for image in distinct} == {dataset} else ()
    if as_json:
        print(json.dumps(asdict(found) | {"shortfall": missing, "clean": found.clean}, indent=1))
    else:
        _report(found, missing)
    raise typer.Exit(0 if found.clean else 1)


def _hashes(placed: Iterable[Placed]) -> dict[Path, PictureHash | str]:
    paths = sorted({one.image.path for one in placed if one.image.path.is_file()})
    with Progress(console=_errors, transient=True) as bar:
        task = bar.add_task("comparing pictures", total=len(paths))
        return hash_pictures(paths, lambda done, _: bar.update(task, completed=done))


def _report(found: Audit, missing: Sequence[str]) -> None:
    slides = f" on {found.slides} slides" if found.slides else ""
    compared = f"{found.pictures:,} pictures compared" if found.pictures else "names compared only, no pictures"
    _console.print(f"{found.images:,} images of {found.patients} patients{slides}; {compared}")
    _console.print(_class_table([count for count in found.counts if not count.side]))
    for line in _side_lines(found.counts):
        _console.print(line)
    for title, lines in (
        ("Missing against the official release", missing),
        ("Unreadable", found.unreadable),
        ("Labels that contradict each other", [_conflict(c) for c in found.conflicts if c.contradictory]),
        ("Patients with several labels (possible, but no split by label)", _several(found.conflicts)),
    ):
        _section(title, lines)
    for kind, words in _KINDS.items():
        _section(f"LEAKS: {words}, on several sides", [_leak(leak) for leak in found.leaks if leak.kind == kind])
    _console.print(_verdict(found))


def _section(title: str, lines: Sequence[str]) -> None:
    if lines:
        _console.print(f"\n{title} ({len(lines)})", style="bold")
        for line in lines[:_SHOWN]:
            _console.print(f"  {line}", markup=False)
        if len(lines) > _SHOWN:
            _console.print(f"  ... and {len(lines) - _SHOWN} more: --json lists them all")


def _class_table(counts: Sequence[Count]) -> Table:
    magnifications = sorted({c.magnification for c in counts}, key=lambda word: (len(word), word))
    table = Table("class", *magnifications, "images")
    for label in sorted({count.label for count in counts}):
        by = {count.magnification: count.images for count in counts if count.label == label}
        cells = [f"{by.get(word, 0):,}" for word in magnifications]
        table.add_row(label, *cells, f"{sum(by.values()):,}")
    return table


def _side_lines(counts: Sequence[Count]) -> Iterable[str]:
    for split in dict.fromkeys(count.split for count in counts if count.side):
        sides: Counter[str] = Counter()
        for count in counts:
            if count.split == split and count.side:
                sides[count.side] += count.images
        yield f"{split}: " + ", ".join(f"{side} {images:,} images" for side, images in sides.items())


def _several(conflicts: Iterable[Conflict]) -> list[str]:
    return [_conflict(conflict) for conflict in conflicts if not conflict.contradictory]


def _conflict(conflict: Conflict) -> str:
    return f"{conflict.kind} {conflict.key}: " + " / ".join(_member(member) for member in conflict.members)


def _leak(leak: Leak) -> str:
    sides = dict.fromkeys(member.side for member in leak.members)
    on = " | ".join(f"{side}: {', '.join(_member(m) for m in leak.members if m.side == side)}" for side in sides)
    return f"{leak.split}, {leak.key}: {on}"


def _member(member: Member) -> str:
    what = member.files[0] if member.images == 1 else f"{member.images} images"
    return f"{member.label} {member.slide_id} ({what})"


def _verdict(found: Audit) -> str:
    if found.clean:
        return "\nNothing leaks and no label contradicts another" + (
            "." if found.pictures else ", as far as names tell."
        )
    kinds = Counter(leak.kind for leak in found.leaks)
    contradictions = sum(conflict.contradictory for conflict in found.conflicts)
    told = [f"{count} by {kind}" for kind, count in kinds.items()]
    return f"\n{len(found.leaks)} leaks ({', '.join(told) or 'none'}), contradictory labels: {contradictions}"


if __name__ == "__main__":
    typer.run(run)
