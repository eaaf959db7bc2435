"""Numbers in place of image, patient, reader and case names, for researchers, who must not see these names."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.results import Reading, ReadOpinion
from core.statistics.evaluation import Evaluation
from core.statistics.shift import Shift
from db.values.evaluations import EvaluatedImage
from db.values.exports import draw_sources, make_key, round_seconds, shuffled_numbers


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one stored evaluation: the same at every visit, and in no meaningful order."""

    patients: Mapping[str, int]
    images: Mapping[str, int]  # by position

    def patient_of(self, number: str | None) -> str | None:
        """Return the patient with this number; None if there is none."""
        return next((name for name, each in self.patients.items() if str(each) == number), None)


def assign_numbers(document: str, evaluation: Evaluation) -> Numbers:
    """Number the images and patients of an evaluation, using the stored document, which is not shown, as the key."""
    key = hashlib.sha256(document.encode()).hexdigest()
    patients = (group.name for group in evaluation.groups if group.kind == "patient")
    positions = range(evaluation.images + len(evaluation.excluded) + 1)
    return Numbers(shuffled_numbers(patients, key), shuffled_numbers(map(str, positions), key))


def evaluation_without_names(evaluation: Evaluation, numbers: Numbers) -> Evaluation:
    """Return an evaluation without the names of its images and patients."""
    groups = tuple(
        replace(group, name=str(numbers.patients[group.name])) if group.kind == "patient" else group
        for group in evaluation.groups
    )
    return replace(
        evaluation,
        groups=groups,
        excluded=tuple(image.without_file() for image in evaluation.excluded),
        notes=tuple(note.without_file() for note in evaluation.notes),
        warnings=tuple(caution.without_subject() for caution in evaluation.warnings),
    )


def images_without_names(images: Iterable[EvaluatedImage], numbers: Numbers) -> list[EvaluatedImage]:
    """Return images with numbers in place of names; "?" for an image that the evaluation does not count."""
    return [
        replace(
            image,
            name=f"image {numbers.images.get(str(image.position), '?')}",
            patient_id=str(numbers.patients.get(image.patient_id, "?")),
        )
        for image in images
    ]


def readings_without_names(readings: Sequence[Reading]) -> list[Reading]:
    """Return readings with new random numbers for readers and cases, in the order of these numbers.

    Durations are rounded, and exchanged at random among the readings of a reader, as in other exports: otherwise two
    files could be matched line by line.
    """
    key = make_key()
    readers = shuffled_numbers((one.reader for one in readings), key)
    cases = shuffled_numbers((one.accession for one in readings), key)
    kinds = [(one.reader, one.iteration, one.final is None, one.standing is None) for one in readings]
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds))}
    sources = draw_sources(range(len(readings)), [numbers[kind] for kind in kinds], key)
    numbered = [
        replace(
            one,
            accession=f"case {cases[one.accession]}",
            reader=f"reader {readers[one.reader]}",
            first=replace(one.first, seconds=round_seconds(source.first.seconds)),
            final=_with_seconds_of(one.final, source.final),
            standing=_with_seconds_of(one.standing, source.standing),
        )
        for one, source in zip(readings, map(readings.__getitem__, sources), strict=True)
    ]
    return sorted(numbered, key=lambda one: (one.accession, one.reader, one.iteration))


def _with_seconds_of(opinion: ReadOpinion | None, source: ReadOpinion | None) -> ReadOpinion | None:
    return replace(opinion, seconds=round_seconds(source.seconds)) if opinion and source else opinion


def shift_without_names(shift: Shift, document: str) -> Shift:
    """Return a shift with numbers in place of the patients of the two compared sets."""
    key = hashlib.sha256(document.encode()).hexdigest()
    numbers = shuffled_numbers((f"{point.side} {point.patient_id}" for point in shift.points), key)
    points = (replace(point, patient_id=str(numbers[f"{point.side} {point.patient_id}"])) for point in shift.points)
    cautions = tuple(caution.without_subject() for caution in shift.warnings)
    return replace(shift, points=tuple(points), warnings=cautions)
