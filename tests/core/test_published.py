import numpy as np
import pytest

from core.statistics import confusion_matrices, figure_names
from core.statistics.published import HUMAN_REFERENCE, PUBLISHED, Published, PublishedFigure


def test_every_published_row_says_whether_it_leaks_and_why() -> None:
    assert {row.leaks for row in PUBLISHED} == {True, False, None}
    assert len({(row.system, row.dataset, row.protocol) for row in PUBLISHED}) == len(PUBLISHED)
    for row in (*PUBLISHED, HUMAN_REFERENCE):
        assert row.reason
        assert row.protocol


def test_a_published_matrix_agrees_with_the_published_figures_beside_it() -> None:
    (row,) = [row for row in PUBLISHED if row.confusion]
    benign, malignant = confusion_matrices.recalls(np.array([row.confusion], float))[0]
    printed = {figure.name: figure.value for figure in row.figures}
    assert (round(malignant, 3), round(benign, 3)) == (printed[figure_names.RECALL], printed[figure_names.SPECIFICITY])


def test_published_f1_follows_from_precision_and_recall() -> None:
    hybrid = {figure.name: figure.value for figure in PUBLISHED[0].figures}
    precision, recall = hybrid[figure_names.PRECISION], hybrid[figure_names.RECALL]
    assert 2 * precision * recall / (precision + recall) == pytest.approx(hybrid[figure_names.F1], abs=1e-4)


def test_a_row_without_a_reason_or_with_a_percentage_cannot_be_made() -> None:
    figure = PublishedFigure(figure_names.AUC, 0.9)
    with pytest.raises(ValueError, match="reason"):
        Published("s", "d", "p", leaks=None, reason="", figures=(figure,))
    with pytest.raises(ValueError, match=r"0\.\.1"):
        PublishedFigure(figure_names.AUC, 90.0)
