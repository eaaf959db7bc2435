"""Agreement of readers with the model, each other and themselves, against the figures of other programs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

from core.labels import Malignancy
from core.reading.agreement import (
    LabelPair,
    count_labels,
    intra_reader_pairs,
    measure_agreement,
    measure_consensus,
    reader_couples,
    reader_model_pairs,
    reader_reader_pairs,
    shared_cases,
)
from core.results import Reading, ReadOpinion
from core.statistics.rates import Rate, median_of, weighted_kappa, wilson_interval
from core.statistics.resampling import Interval, bca_intervals
from tests.helpers.readings import made_readings, reading, said

LABELS: tuple[Malignancy, Malignancy] = ("benign", "malignant")


@given(n=st.integers(1, 500), share=st.floats(0, 1))
@settings(max_examples=80)
def test_a_rate_has_the_interval_of_statsmodels(n: int, share: float) -> None:
    hits = round(share * n)
    found = wilson_interval(hits, n)
    assert (found.low, found.high) == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_rate_of_nothing_says_nothing() -> None:
    found = wilson_interval(0, 0)
    assert (found.n, found.low, found.high) == (0, 0, 1)
    assert math.isnan(found.value)
    with pytest.raises(ValueError, match="4 of 3"):
        Rate(4, 3, 0, 1)


@pytest.mark.parametrize("n", [1, 5, 6, 7, 20, 101, 2000])
def test_the_interval_of_a_median_lies_where_the_binomial_says(n: int) -> None:
    found = median_of([float(i) for i in range(n, 0, -1)])
    assert (found.value, found.n) == ((n + 1) / 2, n)
    place = int(stats.binom.ppf(0.025, n, 0.5))
    if n < 6:
        assert (found.low, found.high) == (None, None)
    else:
        assert stats.binom.cdf(place - 1, n, 0.5) <= 0.025
        assert (found.low, found.high) == (place, n + 1 - place)


def test_cohens_kappa_is_that_of_two_other_programs() -> None:
    pairs = reader_model_pairs([one for one in made_readings(90) if one.reader == "dr. a"], "before")
    found = measure_agreement(pairs)
    table = np.array(count_labels(pairs))[:2, :2]
    assert table.sum() == found.rate.n == 90
    assert found.rate.hits == np.trace(table)
    one, other = zip(*(pair.labels for pair in pairs), strict=True)
    assert found.kappa.value == pytest.approx(cohen_kappa_score(one, other))
    theirs = cohens_kappa(table)
    assert found.kappa.value == pytest.approx(theirs.kappa)
    # Their interval is that of large samples; resampled cases give about the same.
    assert found.kappa.low == pytest.approx(theirs.kappa_low, abs=0.05)
    assert found.kappa.high == pytest.approx(theirs.kappa_upp, abs=0.05)


def test_the_weighted_kappa_of_grades_is_that_of_two_other_programs() -> None:
    pairs = reader_reader_pairs(made_readings(80), "dr. a", "dr. b", "before")
    grades = np.array([pair.grades for pair in pairs])
    found = measure_agreement(pairs).weighted_kappa
    assert found is not None
    ten = list(range(10))
    assert found.value == pytest.approx(cohen_kappa_score(*grades.T, weights="quadratic", labels=ten))
    counts = np.zeros((10, 10))
    np.add.at(counts, tuple(grades.T), 1)
    assert weighted_kappa(counts[None])[0] == pytest.approx(cohens_kappa(counts, wt="fc").kappa)


def test_grades_run_from_certainly_benign_to_certainly_malignant() -> None:
    order: list[tuple[Malignancy, int]] = [("benign", 5), ("benign", 1), ("malignant", 1), ("malignant", 5)]
    readings = [reading(i, label, sure=sure, reader=r) for r in "ab" for i, (label, sure) in enumerate(order)]
    assert [pair.grades for pair in reader_reader_pairs(readings, "a", "b", "before")] == [
        (0, 0),
        (4, 4),
        (5, 5),
        (9, 9),
    ]


def test_fleiss_kappa_of_readers_who_read_everything_is_that_of_statsmodels() -> None:
    readings = made_readings(60, ("a", "b", "c", "d"))
    found = measure_consensus(readings, "before")
    labels = np.array([one.first.label == "malignant" for one in readings]).reshape(60, 4)
    counts, _ = aggregate_raters(labels.astype(int))
    assert found.kappa.value == pytest.approx(fleiss_kappa(counts))
    assert found.kappa.low is not None
    assert found.kappa.high is not None
    assert found.kappa.low < found.kappa.value < found.kappa.high
    assert (found.readers, found.unanimous.n) == (4, 60)
    assert found.unanimous.hits == sum(row.all() or not row.any() for row in labels)


def test_fleiss_kappa_of_a_case_that_fewer_readers_read_is_worked_by_hand() -> None:
    said_by = {1: "bbb", 2: "mm", 3: "bm", 4: "m"}
    readings = [
        reading(case, "benign" if letter == "b" else "malignant", reader=f"dr. {place}")
        for case, letters in said_by.items()
        for place, letter in enumerate(letters)
    ]
    found = measure_consensus(readings, "before")
    assert list(shared_cases(readings, "before")) == [1, 2, 3]
    # Pairs alike: 1, 1, 0. Mean shares of benign: (1 + 0 + 1/2) / 3 = 1/2, so by chance 1/2.
    assert found.kappa.value == pytest.approx((2 / 3 - 1 / 2) / (1 - 1 / 2))
    assert (found.unanimous.hits, found.unanimous.n) == (2, 3)


def test_an_interval_is_drawn_by_case_not_by_read() -> None:
    readings = made_readings(40, ("dr. a",), seed=3)
    once = measure_agreement(reader_model_pairs(readings, "before")).kappa
    # Ten readers who say the same of each case are no more evidence about cases than one.
    tenfold = [
        reading(r.case_id, r.first.label, "benign", r.final.model, reader=f"{i}")
        for i in range(10)
        for r in readings
        if r.final
    ]
    pooled = measure_agreement(reader_model_pairs(tenfold, "before"))
    assert pooled.rate.n == 400
    assert pooled.kappa == once


def test_kappa_is_resampled_as_the_rest_of_the_project_resamples() -> None:
    pairs = [LabelPair(case, (LABELS[case % 2], LABELS[(case // 3) % 2])) for case in range(30)]
    same = np.array([float(pair.agree) for pair in pairs])
    (rate,) = bca_intervals(lambda weights: (weights @ same / weights.sum(axis=1))[:, None], np.zeros(30, np.int64))
    # With both margins one half, kappa of the whole is 2 * rate - 1.
    found = measure_agreement(pairs)
    assert found.kappa.value == pytest.approx(2 * rate.value - 1, abs=0.02)
    assert found.rate.low == pytest.approx(rate.low, abs=0.06)


def test_what_cannot_be_assessed_is_counted_apart() -> None:
    readings = [
        reading(1, None, "benign", "benign"),
        reading(2, "benign", None, "benign"),
        reading(3, "malignant", "benign", "benign"),
    ]
    before, after = (measure_agreement(reader_model_pairs(readings, moment)) for moment in ("before", "after"))
    assert (before.rate.hits, before.rate.n, before.left_out) == (1, 2, 1)
    assert (after.rate.hits, after.rate.n, after.left_out) == (2, 2, 1)
    assert count_labels(reader_model_pairs(readings, "before")) == ((1, 0, 0), (1, 0, 0), (1, 0, 0))


def test_no_pair_and_no_variety_give_no_kappa() -> None:
    assert math.isnan(measure_agreement([]).kappa.value)
    alike = measure_agreement([LabelPair(case, ("benign", "benign")) for case in range(9)])
    assert (alike.rate.hits, alike.rate.n) == (9, 9)
    assert math.isnan(alike.kappa.value)
    assert alike.kappa.low is None
    assert math.isnan(measure_consensus([], "before").kappa.value)


def test_a_model_that_was_not_shown_agrees_with_nobody() -> None:
    assert reader_model_pairs([reading(1, "benign", "benign"), reading(2, "benign")], "before") == []


def test_two_readers_meet_only_on_their_common_cases() -> None:
    readings = [reading(1, "benign", reader="a"), reading(1, "malignant", reader="b"), reading(2, "benign", reader="b")]
    readings.append(reading(3, "benign", reader="c"))
    assert reader_couples(readings) == [("a", "b")]
    (pair,) = reader_reader_pairs(readings, "b", "a", "before")
    assert (pair.case_id, pair.labels) == (1, ("malignant", "benign"))
    assert [one.reader for one in pair.readings] == ["b", "a"]
    assert reader_reader_pairs(readings, "a", "b", "after") == []


def test_a_case_read_again_is_held_against_the_time_before_and_counted_nowhere_else() -> None:
    readings = [
        reading(1, "benign", "benign", "benign", iteration=2),
        reading(1, "malignant", "benign", "benign"),
        reading(2, "benign", "benign", "benign"),
    ]
    (pair,) = intra_reader_pairs(readings)
    assert pair.labels == ("malignant", "benign")
    assert len(reader_model_pairs(readings, "before")) == 2
    assert intra_reader_pairs(readings[1:]) == []


def test_an_amended_label_is_what_stands_after_the_reveal() -> None:
    final, standing = said("benign", "malignant"), said("malignant", "malignant")
    amended = Reading(1, "C-0001", None, False, "a", said("benign"), final, standing)
    assert reader_model_pairs([amended], "after")[0].agree
    assert not reader_model_pairs([amended], "before")[0].agree


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: ReadOpinion(None, 3, 1), "confidence"),
        (lambda: ReadOpinion("benign", 6, 1), "1 to 5"),
        (
            lambda: Reading(1, "C", None, False, "a", said("benign"), said("benign")),
            "both a final and a standing read, or neither",
        ),
        (lambda: Reading(1, "C", None, False, "a", said("benign"), iteration=0), "must be 1 or more, got 0"),
        (lambda: Reading(1, "C", None, False, "a", said("benign", "benign")), "blind"),
    ],
)
def test_a_wrong_reading_cannot_be_made(wrong: object, message: str) -> None:
    assert callable(wrong)
    with pytest.raises(ValueError, match=message):
        wrong()


def test_kappa_gives_the_same_interval_each_time() -> None:
    pairs = reader_reader_pairs(made_readings(30), "dr. a", "dr. b", "after")
    first, second = measure_agreement(pairs), measure_agreement(pairs)
    assert first == second
    assert isinstance(first.kappa, Interval)
