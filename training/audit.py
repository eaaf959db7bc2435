"""Audit a dataset or a split for leaks: `python -m training.audit ROOT|LISTS`; exit status 1 when there are any."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from core.data.datasets import DatasetName, LabelledImage, breakhis_image, label_set_with, load_dataset, shortfall
from core.data.leaks import Audit, Conflict, Count, Leak, Member, PictureHash, Placed, audit, hash_pictures
from core.data.splits import is_fold_list, read_fold_lists
from core.fitting.history import SPLIT_FILE

_SIDES = {
    word: side
    for side, words in (
        ("train", ("train", "training")),
        ("validation", ("validation", "valid", "val")),
        ("test", ("test", "testing")),
    )
    for word in words
}

_SHOWN = 40  # findings of one kind; --json has all
_KINDS = {
    "slide": "the same slide",
    "patient": "the same number under other letters, so most likely the same patient",
    "identical picture": "the same picture, to the pixel",
    "near-identical picture": "nearly the same picture",
}
_errors = Console(stderr=True)
_console = Console(soft_wrap=True, highlight=False)


def read_placed(source: Path, dataset: DatasetName, images: Path | None) -> list[Placed]:
    """Give every image once for each split it is in.

    Args:
        source: A dataset's folder (sub-folders named train, validation or test are the sides of a split), official
            lists, a run folder, or the split file in it.
        dataset: What the images are; lists are of BreaKHis.
        images: Folder of the pictures that lists name; None compares names alone.

    Raises:
        FileNotFoundError: If there is nothing to read.
        ValueError: If a name or a line cannot be read.
    """
    if not source.exists():
        raise FileNotFoundError(f"there is no {source}")
    run_split = source / SPLIT_FILE if source.is_dir() else source
    if run_split.is_file() and _has_sides(run_split):
        placed = _of_run(run_split)
    elif is_fold_list(source):
        placed = _of_lists(source)
    elif source.is_dir():
        return [_by_folder(image, source) for image in load_dataset(dataset, source)]
    else:
        raise ValueError(f"{source} is neither a list of folds nor the {SPLIT_FILE} of a run")
    return placed if images is None else _with_pictures(placed, images)


def _has_sides(table: Path) -> bool:
    if table.suffix != ".csv":
        return False
    with table.open(newline="", encoding="utf-8-sig") as lines:
        return "split_or_fold" in next(csv.reader(lines), [])


def _of_lists(source: Path) -> list[Placed]:
    lines = read_fold_lists(source)
    read = {file: breakhis_image(Path(file)) for file in {line.file for line in lines}}
    if strange := sorted(file for file, image in read.items() if image is None):
        raise ValueError(f"{source} names {len(strange)} files that are not named as in BreaKHis, such as {strange[0]}")
    known = {file: image for file, image in read.items() if image is not None}
    return [Placed(known[line.file], f"fold {line.fold}", line.side) for line in lines]


def _of_run(table: Path) -> list[Placed]:
    with table.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    if len({row["file"] for row in rows}) < len(rows):
        raise ValueError(
            f"{table} has images in several folds, as the official ones do: audit the lists of these folds"
        )
    dataset = label_set_with({row["label"] for row in rows}).name
    return [
        Placed(
            breakhis_image(Path(row["file"]))
            or LabelledImage(Path(row["file"]), row["label"], row["patient_id"], "", dataset),
            table.parent.name,
            row["split_or_fold"],
        )
        for row in rows
    ]


def _by_folder(image: LabelledImage, root: Path) -> Placed:
    parts = image.path.relative_to(root).parts[:-1]
    for depth, part in enumerate(parts):
        if side := _SIDES.get(part.lower()):
            return Placed(image, "/".join(parts[:depth]) or "folders", side)
    return Placed(image)


def _with_pictures(placed: Sequence[Placed], images: Path) -> list[Placed]:
    """Point at the files below a folder that have the names; the others stay names."""
    below = {path.name: path for path in images.rglob("*.*")}
    return [
        replace(one, image=replace(one.image, path=below.get(one.image.path.name, one.image.path))) for one in placed
    ]


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
