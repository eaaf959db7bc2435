"""Audit a dataset or a split for leaks: `python -m training.audit ROOT|LISTS`; exits with status 1 if there are any."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress
from rich.table import Table

from core.command_line import make_app, run_app
from core.console import PlainConsole, text_column
from core.data.datasets import (
    OUTSIDE,
    PATIENT_TABLE,
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
from core.data.left_out import FileLeftOut, find_left_out
from core.data.published_splits import PUBLISHED_SPLITS, SplitName, without_shared_patients
from core.data.splits import is_fold_list, read_fold_lists
from core.identifiers import describe_loss, fold_text, show_spellings
from core.named_files import tidy_path
from core.run_history import SPLIT_FILE
from core.tables import SUFFIXES, Row, has_columns, read_table
from core.wording import count_words

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
_errors = PlainConsole(stderr=True)
_console = PlainConsole()


def read_placed(
    source: Path, dataset: DatasetName, images: Path | None, *, outside: bool = False, patients: Path | None = None
) -> list[PlacedImage]:
    """Return every image once for each split it belongs to.

    Args:
        source: A dataset's folder (sub-folders named train, validation or test are the sides of a split), official
            lists, a run folder, or the split file in it.
        dataset: The dataset of the images; lists are always of BreaKHis.
        images: Folder of the pictures named in the lists; None compares names only.
        outside: Whether labels.csv may name links and files outside the folder.
        patients: A table of the patients of BACH.

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
        labelled = load_dataset(dataset, source, outside=outside, patients=patients)
        return [_by_folder(image, source) for image in labelled]
    else:
        raise ValueError(f"{source} is neither a list of folds nor the {SPLIT_FILE} of a run")
    return placed if images is None else _with_pictures(placed, images)


def _has_sides(table: Path) -> bool:
    return table.suffix.lower() in SUFFIXES and has_columns(table.read_bytes(), table.name, ("split_or_fold",))


def _read_lists(source: Path) -> list[PlacedImage]:
    lines = read_fold_lists(source)
    read = {file: parse_breakhis_name(Path(file)) for file in {line.file for line in lines}}
    if unknown := sorted(file for file, image in read.items() if image is None):
        raise ValueError(f"{source} lists {len(unknown)} files that are not named as in BreaKHis, such as {unknown[0]}")
    known = {file: image for file, image in read.items() if image is not None}
    return [PlacedImage(known[line.file], f"fold {line.fold}", line.side) for line in lines]


def _read_run(table: Path) -> list[PlacedImage]:
    rows = read_table(table.read_bytes(), str(table), ("file", "patient_id", "label", "split_or_fold"))
    _refuse_repeated(table, rows)
    label_set = find_label_set({row["label"] for row in rows})
    placed = []
    for row in rows:
        label, path = label_set.find(row["label"]), tidy_path(row["file"])
        if not label or not row["patient_id"].strip():
            raise ValueError(f"{table}, {row.place} has no label or no patient_id; every image needs both")
        if loss := describe_loss(row["patient_id"]):
            raise ValueError(f"{table}, {row.place}, column patient_id: {row['patient_id']!r} {loss}")
        image = parse_breakhis_name(path) or LabelledImage(path, label, row["patient_id"], "", label_set.name)
        placed.append(PlacedImage(image, table.parent.name, fold_text(row["split_or_fold"])))
    return placed


def _refuse_repeated(table: Path, rows: Sequence[Row]) -> None:
    first: dict[Path, Row] = {}
    for row in rows:
        known = first.setdefault(tidy_path(row["file"]), row)
        if known is not row and known["file"] == row["file"]:
            raise ValueError(
                f"{table} has images in several folds, as official folds do: pass the lists of these folds instead"
            )
        if known is not row:
            raise ValueError(
                f"{table} lists a file more than once: {known['file']} ({known.place}) and {row['file']} ({row.place})"
            )


def _by_folder(image: LabelledImage, root: Path) -> PlacedImage:
    parts = image.path.relative_to(root).parts[:-1] if image.path.is_relative_to(root) else ()
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


def run(  # noqa: PLR0913 - a command line has as many options as there are things to choose
    source: Annotated[Path, typer.Argument(help="Folder of a dataset or of a run, or dsfoldN.txt lists.")],
    dataset: Annotated[DatasetName, typer.Option(help="Dataset of the images in the folder.")] = "breakhis",
    images: Annotated[Path | None, typer.Option(help="Folder of the pictures named in the lists.")] = None,
    published: Annotated[
        SplitName | None, typer.Option(help="Audit the split of BreaKHis that this benchmark publishes.")
    ] = None,
    *,
    more: Annotated[
        list[Path] | None, typer.Option(help="Another folder of the same dataset, audited with it; can be repeated.")
    ] = None,
    patients: Annotated[Path | None, typer.Option(help=PATIENT_TABLE)] = None,
    pictures: Annotated[bool, typer.Option(help="Compare pictures, not only names.")] = True,
    outside: Annotated[bool, typer.Option("--outside", help=OUTSIDE)] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Find patients and pictures on several sides of a split, contradictory labels, and pictures that are left out.

    Exits with status 1 if there are any.
    """
    try:
        folders = (source, *(more or ()))
        placed = [
            one
            for folder in folders
            for one in read_placed(folder, dataset, images, outside=outside, patients=patients)
        ]
        left_out = tuple(one for folder in folders for one in _find_left_out(folder, dataset, placed))
        if published:
            placed = place_published(placed, published)
    except (OSError, ValueError) as error:
        _errors.print(str(error), style="red")
        raise typer.Exit(2) from error
    result = audit_splits(placed, _hash_pictures(placed) if pictures else None)
    distinct = list({one.image.path: one.image for one in placed}.values())
    # The split of a run may be of another dataset than --dataset, and then has no official counts to compare with.
    whole = not published and {image.dataset for image in distinct} == {dataset}
    missing = describe_shortfall(distinct, dataset) if whole else ()
    if as_json:
        others = {"shortfall": missing, "left_out": [asdict(one) for one in left_out], "clean": result.clean}
        print(json.dumps(asdict(result) | others, indent=1))
    else:
        _print_report(result, missing, left_out)
        if published:
            _console.print(_describe_correction(placed))
    raise typer.Exit(0 if result.clean and not left_out else 1)


def place_published(placed: Sequence[PlacedImage], name: SplitName) -> list[PlacedImage]:
    """Return the images of BreaKHis that a published split uses, on its sides.

    Raises:
        ValueError: If it uses none of them.
    """
    split = PUBLISHED_SPLITS[name]
    distinct = {one.image.path: one.image for one in placed}
    if not (sides := split.place(list(distinct.values()))):
        raise ValueError(
            f"the split of {name} uses images of BreaKHis at {split.magnification} of {len(split.classes)} classes, "
            "and there are none"
        )
    return sides


def _describe_correction(placed: Sequence[PlacedImage]) -> str:
    corrected = without_shared_patients(placed)
    if len(corrected) == len(placed):
        return "Among these images, the published split needs no correction."
    kept, train = (sum(one.side == "train" for one in images) for images in (corrected, placed))
    lost = ", ".join(sorted(_patients_twice(placed)))
    return (
        f"Corrected split: the held-out images as published, and {kept:,} of {train:,} training images, without those "
        f"of accessions {lost}."
    )


def _patients_twice(placed: Sequence[PlacedImage]) -> set[str]:
    sides: dict[str, set[str]] = defaultdict(set)
    for one in placed:
        sides[one.image.patient_id].add(one.side)
    return {patient for patient, on in sides.items() if len(on) > 1}


def _find_left_out(source: Path, dataset: DatasetName, placed: Sequence[PlacedImage]) -> tuple[FileLeftOut, ...]:
    """Return the pictures of a dataset's folder that are not used; lists and runs name their images themselves."""
    own = [one.image for one in placed if one.image.path.is_relative_to(source)]
    return find_left_out(dataset, source, own) if source.is_dir() and own else ()


def _hash_pictures(placed: Iterable[PlacedImage]) -> dict[Path, PictureHash | str]:
    paths = sorted({one.image.path for one in placed if one.image.path.is_file()})
    with Progress(text_column(), BarColumn(), MofNCompleteColumn(), console=_errors, transient=True) as bar:
        task = bar.add_task("comparing pictures", total=len(paths))
        return hash_pictures(paths, lambda done, _: bar.update(task, completed=done))


def _print_report(result: Audit, missing: Sequence[str], left_out: Sequence[FileLeftOut]) -> None:
    slides = f" on {count_words(result.slides, 'slide')}" if result.slides else ""
    pictures = f"{count_words(result.pictures, 'picture')} compared"
    compared = pictures if result.pictures else "only names compared, no pictures"
    extent = f"{count_words(result.images, 'image')} of {count_words(result.patients, 'patient')}"
    out = f"; {count_words(len(left_out), 'picture')} left out" if left_out else ""
    _console.print(f"{extent}{slides}; {compared}{out}")
    _console.print(_class_table([count for count in result.counts if not count.side]))
    for line in _side_lines(result.counts):
        _console.print(line)
    for title, lines in (
        ("Differences from the official release", missing),
        ("Left out", [one.words for one in left_out]),
        ("Unreadable", result.unreadable),
        ("Patients spelled in several ways, treated as one", result.merged),
        ("Patients written almost alike: are they the same?", [show_spellings(pair) for pair in result.near.pairs]),
        ("Contradictory labels", [_conflict(c) for c in result.conflicts if c.contradictory]),
        ("Patients with several labels (possible, but they cannot be stratified by label)", _several(result.conflicts)),
    ):
        _print_section(title, lines)
    if result.near.numbered:
        pairs = count_words(result.near.numbered, "pair")
        _console.print(f"\n{pairs} of patients differ by one digit only, as numbered patients do")
    for kind, words in _KINDS.items():
        _print_section(f"LEAKS: {words}, on several sides", [_leak(leak) for leak in result.leaks if leak.kind == kind])
    _console.print(_verdict(result, len(left_out)))


def _print_section(title: str, lines: Sequence[str]) -> None:
    if lines:
        _console.print(f"\n{title} ({len(lines)})", style="bold")
        for line in lines[:_SHOWN]:
            _console.print(f"  {line}")
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
        yield f"{split}: " + ", ".join(f"{side} {count_words(images, 'image')}" for side, images in sides.items())


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


def _verdict(result: Audit, left_out: int) -> str:
    out = f" {count_words(left_out, 'picture')} left out." if left_out else ""
    if result.clean:
        return (
            f"\nNo leaks and no contradictory labels{'' if result.pictures else ' (pictures were not compared)'}.{out}"
        )
    kinds = Counter(leak.kind for leak in result.leaks)
    contradictions = sum(conflict.contradictory for conflict in result.conflicts)
    by_kind = ", ".join(f"{count} by {kind}" for kind, count in kinds.items())
    details = f" ({by_kind})" if by_kind else ""
    return f"\nLeaks: {len(result.leaks)}{details}. Contradictory labels: {contradictions}.{out}"


app = make_app(run, "python -m training.audit BREAKHIS", OSError, ValueError)

if __name__ == "__main__":
    run_app(app)
