"""The history of a run, read while it is written and after its end."""

import pytest

from core.run_history import find_best_epoch, read_document, read_lines
from tests.helpers.runs.histories import as_document, epoch_line, run_lines


def test_a_history_is_told_part_by_part() -> None:
    first, second = read_lines(run_lines())
    assert (first.part, second.part) == ("fold 1", "fold 2")
    assert [epoch.number for epoch in second.epochs] == [1, 2, 3, 4, 5, 6]
    assert [epoch.phase for epoch in second.epochs] == ["head", "head", "all", "all", "all", "all"]
    best = find_best_epoch(second.epochs)
    assert best is not None
    assert (best.number, best.validation_auc) == (4, 0.9)


def test_a_line_that_is_just_being_written_is_left_out() -> None:
    lines = run_lines(parts=1)
    for cut in range(1, len(epoch_line("fold 1", 6, "all"))):
        [part] = read_lines(lines[:-cut])
        assert len(part.epochs) == 5
    assert len(read_lines(lines)[0].epochs) == 6


def test_an_epoch_that_was_done_again_after_a_kill_counts_once() -> None:
    [part] = read_lines(epoch_line("a", 1) + epoch_line("a", 2) + epoch_line("a", 2) + epoch_line("a", 3))
    assert [epoch.number for epoch in part.epochs] == [1, 2, 3]


def test_an_empty_history_has_no_parts() -> None:
    assert read_lines("") == read_document("[]") == ()


def test_a_training_without_validation_has_no_validation_figures() -> None:
    [part] = read_lines(epoch_line("whole", 1, validation=False))
    assert (part.epochs[0].validation_loss, part.epochs[0].validation_auc) == (None, None)


def test_the_row_of_an_ended_run_tells_the_same_as_its_file() -> None:
    assert read_document(as_document(run_lines())) == read_lines(run_lines())


def test_what_is_no_history_is_refused_with_its_place() -> None:
    with pytest.raises(ValueError, match="line 2 of the history is not an epoch"):
        read_lines(epoch_line("a", 1) + "{}\n")
    with pytest.raises(ValueError, match=r"not the history of a run: 0\.part"):
        read_document("[{}]")
