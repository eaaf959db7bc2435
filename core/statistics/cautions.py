"""Cautions and excluded images that a reviewer must know about; names of patients and files have their own field."""

import re
from dataclasses import dataclass, replace
from typing import Annotated, Literal

from pydantic import BeforeValidator

CautionKind = Literal[
    "trained on",
    "split leaks",
    "images missing",
    "fitted here",
    "lock unknown",
    "patients unknown",
    "patients merged",
    "one malignancy",
    "dataset incomplete",
    "shared patients",
    "few patients",
    "images drawn",
    "images left out",
    "out of scope",
    "no AUC",
    "scale not matched",
    "scale unknown",
    "unclassified",  # a sentence from an older version that matches none of those below
]

FEW_PATIENTS = 10  # fewer are said to be few

_NOT_SHOWN = "a caution from an older version is hidden because it may name a patient or a file"


@dataclass(frozen=True, slots=True)
class Caution:
    """One caution; `text` is a whole sentence that names no patient, slide or file.

    Any name is in `subject` alone, so that removing this field de-identifies a caution, however it is worded.
    """

    kind: CautionKind
    text: str
    subject: str | None = None

    @property
    def words(self) -> str:
        """Return the caution as displayed, with its subject in brackets if it has one."""
        if self.subject is None:
            return self.text
        return self.subject if self.kind == "unclassified" else f"{self.text} ({self.subject})"

    def without_subject(self) -> "Caution":
        """Return the caution without the patient, slide or file that it names."""
        return replace(self, subject=None)


@dataclass(frozen=True, slots=True)
class ImageLeftOut:
    """An image without a prediction; `reason` names neither the file nor a patient."""

    file: str | None
    reason: str

    @property
    def words(self) -> str:
        """Return the reason after the file name, if there is one."""
        return f"{self.file or 'an image'}: {self.reason}"

    def without_file(self) -> "ImageLeftOut":
        """Return the reason alone."""
        return replace(self, file=None)


@dataclass(frozen=True, slots=True)
class ImageNote:
    """How the file of an evaluated image was read; `note` names neither the file nor a patient."""

    file: str | None
    note: str
    position: int | None = None  # of the image among those with a prediction, from 1; None if it has none

    @property
    def words(self) -> str:
        """Return the note after the file name, if there is one."""
        return f"{self.file or 'an image'}: {self.note}"

    def without_file(self) -> "ImageNote":
        """Return the note alone."""
        return replace(self, file=None)


def leak_caution(what: str, sides: str, subject: str) -> Caution:
    """Return the caution for a patient, slide or picture ("patient") on several sides ("test and in train")."""
    article = "an" if what[:1] in "aeiou" else "a"
    return Caution("split leaks", f"{article} {what} is in {sides}: the split leaks", subject)


# Before cautions had fields, evaluations and comparisons stored sentences. These are the sentences of that time: they
# must not change when a caution is reworded. They contain names of sets, but no patient and no file.
_OLD_SENTENCES: tuple[tuple[CautionKind, str], ...] = (
    ("trained on", r"\d+ of \d+ patients were trained on: these figures flatter"),
    ("trained on", r"\d+ of \d+ patients bear a number that was trained on: if they are the same people, .+ flatter"),
    ("trained on", r"the network was trained on \d+ of \d+ patients of .+: its AUC there flatters"),
    ("images missing", r"\d+ of \d+ [a-z-]+ images of the run are not in this folder"),
    ("fitted here", r"threshold and temperature were fitted to these predictions: sensitivity, .+ depend on them"),
    ("lock unknown", r"the card does not say which predictions its threshold and temperature were fitted to"),
    ("patients unknown", r"every image counts as a patient of its own: intervals come out too narrow"),
    ("patients unknown", r"the patients of .+ are not known: every image counts as a patient .+ too narrow"),
    ("one malignancy", r"all images are of one malignancy: there is no AUC, and only one of .+ and specificity"),
    ("dataset incomplete", r"the dataset is not complete: [\w -]+: [\d,]+ of [\d,]+, .+ (missing|too many)"),
    ("shared patients", r"\d+ patients are in both sets: they stay together wherever patients are drawn or dealt"),
    ("few patients", r"only \d+ patients of .+: a difference has to be large to be seen"),
    ("images drawn", r"\d+ of \d+ images of .+ were drawn, see --most"),
    ("images left out", r"\d+ more images of .+ left out for other reasons"),
    ("no AUC", r".+ has fewer than two benign or two malignant images: what helps cannot be measured"),
    ("no AUC", r".+ has fewer than two benign or two malignant images: there is no AUC to drop from"),
    ("no AUC", r"scale matched \(images x [\d.]+\): too few benign or malignant images are left for an AUC"),
    ("scale not matched", r"scale was not matched: this network sees the whole image in one square, .+ its size"),
    ("scale not matched", r"scale was not matched: no dark structures were found whose size could be compared"),
    ("scale not matched", r"scale was not matched: images would have to be made [\d.]+ times (larger|smaller)"),
)
_OLD = tuple((kind, re.compile(sentence, re.DOTALL)) for kind, sentence in _OLD_SENTENCES)
_OLD_LEAK = re.compile(
    r"(?P<what>identical picture|near-identical picture|slide|patient) (?P<subject>.*) is in "
    r"(?P<sides>\w.*): the split leaks",
    re.DOTALL,
)
# A reason may contain brackets: everything after the first one counts as the name of the file.
_OLD_LEFT_OUT = re.compile(r"(?P<text>\d+ of \d+ images of .+? left out: .*?) \((?P<subject>.*)\)", re.DOTALL)


def read_old_caution(sentence: str) -> Caution:
    """Read a caution that an older version wrote as one sentence; an unknown sentence becomes its subject."""
    if leak := _OLD_LEAK.fullmatch(sentence):
        return leak_caution(leak["what"], leak["sides"], leak["subject"])
    if left_out := _OLD_LEFT_OUT.fullmatch(sentence):
        return Caution("images left out", left_out["text"], left_out["subject"])
    kind = next((kind for kind, known in _OLD if known.fullmatch(sentence)), None)
    return Caution("unclassified", _NOT_SHOWN, sentence) if kind is None else Caution(kind, sentence)


def read_old_image_left_out(line: str) -> ImageLeftOut:
    """Read a line "file: reason" from an older version; both may contain colons, the reason follows the last one."""
    file, colon, reason = line.rpartition(": ")
    return ImageLeftOut(file, reason) if colon else ImageLeftOut(line, "no prediction")


# As stored in documents: fields, or one sentence from an older version.
StoredCaution = Annotated[
    Caution, BeforeValidator(lambda value: read_old_caution(value) if isinstance(value, str) else value)
]
StoredImageLeftOut = Annotated[
    ImageLeftOut, BeforeValidator(lambda value: read_old_image_left_out(value) if isinstance(value, str) else value)
]
