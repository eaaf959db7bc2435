"""The watch over uploads: rarely a false alarm, and a real change is found within the stated number of cases."""

from datetime import date, timedelta

import numpy as np
import pytest

from core.statistics.drift import (
    FALSE_ALARMS_PER_YEAR,
    LEAST_CASES,
    LEAST_PATIENTS,
    MonthOfUploads,
    ScoredUpload,
    cases_to_notice,
    watch_uploads,
)

PATIENTS = 27
START = date(2026, 1, 1)


def uploads_of(
    rng: np.random.Generator, cases: int, months: int = 12, change: float = 0.0, images: int = 3
) -> list[ScoredUpload]:
    """Uploads of cases that differ like the training patients, their scores `change` standard deviations higher."""
    uploads = []
    for number in range(months * cases):
        day = date(2026, 1 + number // cases, 1) + timedelta(days=number % 28)
        case = rng.normal(change)
        uploads += [ScoredUpload(day, f"case {number}", float(np.exp(0.4 * case))) for _ in range(images)]
    return uploads


def training_scores(rng: np.random.Generator) -> list[float]:
    return [float(score) for score in np.exp(0.4 * rng.normal(size=PATIENTS))]


def test_years_without_a_change_have_an_alarm_as_rarely_as_stated() -> None:
    rng = np.random.default_rng(0)
    years = 1000
    alarms = sum(
        any(month.alarm for month in watch_uploads(uploads_of(rng, 8, images=1), training_scores(rng)))
        for _ in range(years)
    )
    # Above the stated rate only by chance: three standard deviations of a count of that rate.
    most = years * FALSE_ALARMS_PER_YEAR + 3 * (years * FALSE_ALARMS_PER_YEAR) ** 0.5
    assert 0 < alarms <= most


def test_a_change_of_one_standard_deviation_is_noticed_within_the_stated_number_of_cases() -> None:
    rng = np.random.default_rng(1)
    cases = cases_to_notice(PATIENTS)
    assert cases is not None
    assert cases < 60
    noticed = [
        watch_uploads(uploads_of(rng, cases, 1, 1.0, images=1), training_scores(rng))[0].alarm for _ in range(400)
    ]
    assert np.mean(noticed) > 0.85
    with_fewer = [
        watch_uploads(uploads_of(rng, cases // 4, 1, 1.0, images=1), training_scores(rng))[0].alarm for _ in range(400)
    ]
    assert np.mean(with_fewer) < 0.75


def test_more_training_patients_or_a_larger_change_need_fewer_cases() -> None:
    few, many, large = cases_to_notice(20), cases_to_notice(200), cases_to_notice(20, change=2.0)
    assert few is not None
    assert many is not None
    assert large is not None
    assert many < few
    assert large < few
    assert cases_to_notice(6, change=0.5) is None
    assert cases_to_notice(LEAST_PATIENTS - 1) is None


def test_months_are_in_order_and_count_images_and_cases() -> None:
    uploads = [
        ScoredUpload(date(2026, 3, 31), "b", 2.0),
        ScoredUpload(date(2026, 2, 1), "a", 1.0),
        ScoredUpload(date(2026, 3, 1), "a", 0.5),
        ScoredUpload(date(2026, 3, 2), "b", 2.0),
    ]
    february, march = watch_uploads(uploads, [1.0] * 9)
    assert february == MonthOfUploads(date(2026, 2, 1), 1, 1, 1.0, None)
    assert (march.month, march.images, march.cases) == (date(2026, 3, 1), 3, 2)
    assert march.typical == pytest.approx(1.0)  # the geometric mean of a half and two


def test_images_of_one_case_count_as_one_case() -> None:
    """Otherwise one large, odd case would be an alarm."""
    known = training_scores(np.random.default_rng(2))
    usual = [ScoredUpload(START, f"case {number}", 1.0) for number in range(LEAST_CASES)]
    odd = [ScoredUpload(START, "odd", 3.0) for _ in range(500)]
    (month,) = watch_uploads([*usual, *odd], known)
    assert not month.alarm
    (month,) = watch_uploads([*usual, *(ScoredUpload(START, f"odd {n}", 3.0) for n in range(500))], known)
    assert month.alarm


def test_too_few_cases_or_training_patients_are_never_an_alarm() -> None:
    known = training_scores(np.random.default_rng(3))
    odd = [ScoredUpload(START, f"case {number}", 1e6) for number in range(LEAST_CASES)]
    assert watch_uploads(odd, known)[0].alarm
    assert not watch_uploads(odd[1:], known)[0].alarm
    assert not watch_uploads(odd, known[: LEAST_PATIENTS - 1])[0].alarm
    assert watch_uploads([], known) == ()
