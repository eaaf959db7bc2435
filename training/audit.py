"""Audit a dataset or a split for leaks: `python -m training.audit ROOT|LISTS`; exits with status 1 if there are any."""

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

from core.data.datasets import (
    DatasetName,
    LabelledImage,
    describe_shortfall,
    find_label_set,
    load_dataset,
    parse_breakhis_name,
)
from core.data.leaks import (
    Audit,
    Conflict,
    Count,
    Leak,
    LeakMember,
    PictureHash,
    PlacedImage,
    audit_splits,
    hash_pictures,
)
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

_SHOWN = 40  # findings of one kind; --json lists all
_KINDS = {
    "slide": "the same slide",
    "patient": "the same number with other letters, most likely the same patient",
    "identical picture": "the same picture, pixel for pixel",
    "near-identical picture": "nearly the same picture",
}
_errors = Console(stderr=True)
_console = Console(soft_wrap=True, highlight=False)


def read_placed(source: Path, dataset: DatasetName, images: Path | None) -> list[PlacedImage]:
    """Return every image once for each split it belongs to.

    Args:
        source: A dataset's folder (sub-folders named train, validation or test are the sides of a split), official
            lists, a run folder, or the split file in it.
        dataset: The dataset of the images; lists are always of BreaKHis.
        images: Folder of the pictures named in the lists; None compares names only.

    Raises:
        FileNotFoundError: If the source does not exist.
        ValueError: If a name or a line cannot be read.
    """
    if not source.exists():
        raise FileNotFoundError(f"there is no file or folder {source}")
    run_split = source / SPLIT_FILE if source.is_dir() else source
    if run_split.is_file() and _has_sides(run_split):
        placed = _read_run(run_split)
    elif is_fold_list(source):
        placed = _read_lists(source)
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


def _read_lists(source: Path) -> list[PlacedImage]:
    lines = read_fold_lists(source)
    read = {file: parse_breakhis_name(Path(file)) for file in {line.file for line in lines}}
    if unknown := sorted(file for file, image in read.items() if image is None):
        raise ValueError(f"{source} lists {len(unknown)} files that are not named as in BreaKHis, such as {unknown[0]}")
    known = {file: image for file, image in read.items() if image is not None}
    return [PlacedImage(known[line.file], f"fold {line.fold}", line.side) for line in lines]


def _read_run(table: Path) -> list[PlacedImage]:
    with table.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    if len({row["file"] for row in rows}) < len(rows):
        raise ValueError(
            f"{table} has images in several folds, as official folds do: pass the lists of these folds instead"
        )
    dataset = find_label_set({row["label"] for row in rows}).name
    return [
        PlacedImage(
            parse_breakhis_name(Path(row["file"]))
            or LabelledImage(Path(row["file"]), row["label"], row["patient_id"], "", dataset),
            table.parent.name,
            row["split_or_fold"],
        )
        for row in rows
    ]


def _by_folder(image: LabelledImage, root: Path) -> PlacedImage:
    parts = image.path.relative_to(root).parts[:-1]
    for depth, part in enumerate(parts):
        if side := _SIDES.get(part.lower()):
            return PlacedImage(image, "/".join(parts[:depth]) or "folders", side)
    return PlacedImage(image)


def _with_pictures(placed: Sequence[PlacedImage], images: Path) -> list[PlacedImage]:
    """Replace names by the files of these names below a folder; names without a file stay."""
    below = {path.name: path for path in images.rglob("*.*")}
    return [
        replace(one, image=replace(one.image, path=below.get(one.image.path.name, one.image.path))) for one in placed
    ]


def run(
    source: Annotated[Path, typer.Argument(help="Folder of a dataset or of a run, or dsfoldN.txt lists.")],
    dataset: Annotated[DatasetName, typer.Option(help="Dataset of the images in the folder.")] = "breakhis",
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures named in the lists.")] = None,
    *,
    pictures: Annotated[bool, typer.Option(help="Compare pictures, not only names.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Find patients and pictures on several sides of a split, and contradictory labels.

    Exits with status 1 if there are any.
    """
    try:
        placed = read_placed(source, dataset, images)
    except (FileNotFoundError, ValueError) as error:
        _errors.print(f"[red]{error}[/red]", soft_wrap=True)
        raise typer.Exit(2) from error
    result = audit_splits(placed, _hash_pictures(placed) if pictures else None)
    distinct = list({one.image.path: one.image for one in placed}.values())
    # The split of a run may be of another dataset than --dataset, and then has no official counts to compare with.
    missing = describe_shortfall(distinct, dataset) if {image.dataset for image in distinct} == {dataset} else ()
    if as_json:
        print(json.dumps(asdict(result) | {"shortfall": missing, "clean": result.clean}, indent=1))
    else:
        _print_report(result, missing)
    raise typer.Exit(0 if result.clean else 1)


def _hash_pictures(placed: Iterable[PlacedImage]) -> dict[Path, PictureHash | str]:
    paths = sorted({one.image.path for one in placed if one.image.path.is_file()})
    with Progress(console=_errors, transient=True) as bar:
        task = bar.add_task("comparing pictures", total=len(paths))
        return hash_pictures(paths, lambda done, _: bar.update(task, completed=done))


def _print_report(result: Audit, missing: Sequence[str]) -> None:
    slides = f" on {result.slides} slides" if result.slides else ""
    compared = f"{result.pictures:,} pictures compared" if result.pictures else "only names compared, no pictures"
    _console.print(f"{result.images:,} images of {result.patients} patients{slides}; {compared}")
    _console.print(_class_table([count for count in result.counts if not count.side]))
    for line in _side_lines(result.counts):
        _console.print(line)
    for title, lines in (
        ("Differences from the official release", missing),
        ("Unreadable", result.unreadable),
        ("Contradictory labels", [_conflict(c) for c in result.conflicts if c.contradictory]),
        ("Patients with several labels (possible, but they cannot be stratified by label)", _several(result.conflicts)),
    ):
        _print_section(title, lines)
    for kind, words in _KINDS.items():
        _print_section(f"LEAKS: {words}, on several sides", [_leak(leak) for leak in result.leaks if leak.kind == kind])
    _console.print(_verdict(result))


def _print_section(title: str, lines: Sequence[str]) -> None:
    if lines:
        _console.print(f"\n{title} ({len(lines)})", style="bold")
        for line in lines[:_SHOWN]:
            _console.print(f"  {line}", markup=False)
        if len(lines) > _SHOWN:
            _console.print(f"  ... and {len(lines) - _SHOWN} more (--json lists them all)")


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


def _member(member: LeakMember) -> str:
    what = member.files[0] if member.images == 1 else f"{member.images} images"
    return f"{member.label} {member.slide_id} ({what})"


def _verdict(result: Audit) -> str:
    if result.clean:
        return "\nNo leaks and no contradictory labels" + ("." if result.pictures else " (pictures were not compared).")
    kinds = Counter(leak.kind for leak in result.leaks)
    contradictions = sum(conflict.contradictory for conflict in result.conflicts)
    by_kind = ", ".join(f"{count} by {kind}" for kind, count in kinds.items())
    details = f" ({by_kind})" if by_kind else ""
    return f"\nLeaks: {len(result.leaks)}{details}. Contradictory labels: {contradictions}."


if __name__ == "__main__":
    typer.run(run)
