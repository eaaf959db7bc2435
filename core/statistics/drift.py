"""Watch month by month whether a site's uploads drift away from the training images, with few false alarms."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

FALSE_ALARMS_PER_YEAR = 0.05  # share of years with an alarm although nothing has changed
LEAST_CASES = 5  # in a month; of fewer, one odd case would be the month
LEAST_PATIENTS = 5  # of the training set; of fewer, their spread is unknown
_MOST_CASES = 10_000
_SMALLEST_SCORE = 1e-6


@dataclass(frozen=True, slots=True)
class ScoredUpload:
    """The scope score of one uploaded image, with its day and its case."""

    day: date
    case: str
    score: float


@dataclass(frozen=True, slots=True)
class MonthOfUploads:
    """One month of uploads: the typical score of its cases, and whether it lies above what chance explains.

    `typical` is the geometric mean over cases of each case's mean score; `limit` is None, and there is no alarm, if the
    month has too few cases.
    """

    month: date  # its first day
    images: int
    cases: int
    typical: float
    limit: float | None

    @property
    def alarm(self) -> bool:
        """Whether the month's cases are less like the training images than chance explains."""
        return self.limit is not None and self.typical > self.limit


def watch_uploads(uploads: Iterable[ScoredUpload], training_scores: Sequence[float]) -> tuple[MonthOfUploads, ...]:
    """Compare each month's cases with the training patients, each of whom was held out when scored.

    A month is compared by the one-sided prediction interval of a mean of as many further patients (Student's t, on
    logarithms), at a twelfth of FALSE_ALARMS_PER_YEAR: if nothing has changed, at most that share of years has an
    alarm. The unit is the case, because images of one case are alike. `training_scores` has one mean score for each
    patient.
    """
    months: defaultdict[date, defaultdict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for upload in uploads:
        months[upload.day.replace(day=1)][upload.case].append(upload.score)
    return tuple(_judge_month(month, cases.values(), training_scores) for month, cases in sorted(months.items()))


def cases_to_notice(training_patients: int, change: float = 1.0, certainty: float = 0.9) -> int | None:
    """Return how many cases a month needs for an alarm, with this certainty, about a lasting change.

    The change is in standard deviations between patients (of the logarithm of their scores). None if no number of
    cases is enough, because the training patients are too few.
    """
    from scipy.special import nctdtr  # noqa: PLC0415 - slow to import, and a page imports this module

    if training_patients < LEAST_PATIENTS:
        return None
    numbers = np.arange(LEAST_CASES, _MOST_CASES)
    distance = change / np.sqrt(1 / numbers + 1 / training_patients)
    missed = nctdtr(training_patients - 1, distance, _quantile(training_patients))
    enough = np.flatnonzero(1 - missed >= certainty)
    return int(numbers[enough[0]]) if len(enough) else None


def _judge_month(month: date, cases: Iterable[Sequence[float]], training_scores: Sequence[float]) -> MonthOfUploads:
    scores = [list(of_case) for of_case in cases]
    typical = math.exp(float(_logarithms([float(np.mean(of_case)) for of_case in scores]).mean()))
    images = sum(len(of_case) for of_case in scores)
    return MonthOfUploads(month, images, len(scores), typical, _limit(len(scores), training_scores))


def _limit(cases: int, training_scores: Sequence[float]) -> float | None:
    patients = len(training_scores)
    if cases < LEAST_CASES or patients < LEAST_PATIENTS:
        return None
    known = _logarithms(training_scores)
    reach = _quantile(patients) * float(known.std(ddof=1)) * math.sqrt(1 / cases + 1 / patients)
    return math.exp(float(known.mean()) + reach)


def _quantile(patients: int) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415 - as above

    return float(stdtrit(patients - 1, 1 - FALSE_ALARMS_PER_YEAR / 12))


def _logarithms(scores: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(scores, _SMALLEST_SCORE)), np.float64)
