"""Numbers for the names of images and patients on the pages of results, for researchers, who get everything without."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from core.results import Reading
from core.statistics.evaluation import Evaluation
from core.statistics.shift import Shift
from db.values.evaluations import EvaluatedImage
from db.values.exports import new_key, shuffled_numbers


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of one stored evaluation, the same whenever it is looked at; they do not follow any order."""

    patients: Mapping[str, int]
    images: Mapping[str, int]  # by position

    def patient_of(self, number: str | None) -> str | None:
        """Give the patient of a number."""
        return next((name for name, each in self.patients.items() if str(each) == number), None)


def numbers_of(document: str, found: Evaluation) -> Numbers:
    """Number the images and patients of an evaluation; the stored document, which is not shown, is the key."""
    key = hashlib.sha256(document.encode()).hexdigest()
    patients = (group.name for group in found.groups if group.kind == "patient")
    positions = range(found.images + len(found.excluded) + 1)
    return Numbers(shuffled_numbers(patients, key), shuffled_numbers(map(str, positions), key))


def evaluation_without_names(found: Evaluation, numbers: Numbers) -> Evaluation:
    """Leave out of an evaluation what its images and patients are called."""
    groups = tuple(
        replace(group, name=str(numbers.patients[group.name])) if group.kind == "patient" else group
        for group in found.groups
    )
    return replace(
        found,
        groups=groups,
        excluded=tuple(image.without_file() for image in found.excluded),
        warnings=tuple(caution.without_subject() for caution in found.warnings),
    )


def images_without_names(images: Iterable[EvaluatedImage], numbers: Numbers) -> list[EvaluatedImage]:
    """Give images numbers for names; one that the evaluation does not count has none."""
    return [
        replace(
            image,
            name=f"image {numbers.images.get(str(image.position), '?')}",
            patient_id=str(numbers.patients.get(image.patient_id, "?")),
        )
        for image in images
    ]


def readings_without_names(readings: Sequence[Reading]) -> list[Reading]:
    """Give readers and cases numbers for names, other ones each time, and put the readings in their order."""
    key = new_key()
    readers = shuffled_numbers((one.reader for one in readings), key)
    cases = shuffled_numbers((one.accession for one in readings), key)
    hidden = [
        replace(one, accession=f"case {cases[one.accession]}", reader=f"reader {readers[one.reader]}")
        for one in readings
    ]
    return sorted(hidden, key=lambda one: (one.accession, one.reader, one.iteration))


def shift_without_names(shift: Shift, document: str) -> Shift:
    """Give the patients of two compared sets numbers for names."""
    key = hashlib.sha256(document.encode()).hexdigest()
    numbers = shuffled_numbers((f"{point.side} {point.patient_id}" for point in shift.points), key)
    points = (replace(point, patient_id=str(numbers[f"{point.side} {point.patient_id}"])) for point in shift.points)
    cautions = tuple(caution.without_subject() for caution in shift.warnings)
    return replace(shift, points=tuple(points), warnings=cautions)
