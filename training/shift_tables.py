"""Lays a comparison of two image sets out for a terminal."""

from rich.markup import escape
from rich.table import Table

from core.evaluation import Figure
from core.shift import Distance, Shift


def tables(shift: Shift) -> tuple[Table, ...]:
    """Give the distances, the statistics and what helps, each in a table."""
    helps = (what_helps(shift),) if shift.steps else ()
    return distance_table(shift), statistic_table(shift), *helps


def distance_table(shift: Shift) -> Table:
    """Lay the distances out beside what chance gives."""
    title = f"{shift.source} to {shift.target}, as {shift.model_name} {shift.model_version} sees them"
    caption = (
        f"{shift.images[0]} images of {shift.patients[0]} patients against {shift.images[1]} of {shift.patients[1]}; "
        "halves: what two random halves of the source's patients give"
    )
    table = Table("distance", "value", "95 % interval", "halves", "p", title=escape(title), caption=escape(caption))
    for found in shift.distances:
        p = "" if found.p is None else f"{found.p:.3f}"
        table.add_row(found.name, f"{found.value:.3f}", _interval(found), f"{found.halves:.3f}", p)
    return table


def statistic_table(shift: Shift) -> Table:
    """Lay the statistics out, the most different first."""
    table = Table("statistic", "source", "target", "difference in SD", "p", title="medians, by image as it is")
    for found in sorted(shift.distributions, key=lambda each: -abs(each.difference)):
        medians = (f"{found.source_median:.3g}", f"{found.target_median:.3g}")
        table.add_row(f"{found.name} ({found.unit})", *medians, f"{found.difference:+.2f}", f"{found.p:.3f}")
    return table


def what_helps(shift: Shift) -> Table:
    """Lay out the AUC on both sets, and what each step changes on the target set."""
    columns = ("set and way", "images", "AUC [95 %]", "change [95 %]", "of the drop")
    table = Table(*columns, title="what helps", caption=_caption(shift))
    if shift.source_auc is not None:
        table.add_row(_named(shift, "source", 0), str(shift.source_auc.n), _figure(shift.source_auc), "", "")
    for step in shift.steps:
        name = _named(shift, f"target, {step.name}", 1) if step.change is None else escape(step.name)
        share = shift.given_back(step)
        change = "" if step.change is None else _figure(step.change, "+.3f")
        table.add_row(name, str(step.images), _figure(step.auc), change, "" if share is None else f"{share:+.0%}")
    return table


def _named(shift: Shift, what: str, place: int) -> str:
    return escape(f"{what}, trained on these patients" if shift.trained_on[place] else what)


def _figure(figure: Figure, style: str = ".3f") -> str:
    bounds = "" if figure.low is None or figure.high is None else f" [{figure.low:{style}}, {figure.high:{style}}]"
    return escape(f"{figure.value:{style}}{bounds}")


def _caption(shift: Shift) -> str:
    drop = shift.drop
    if drop is None:
        return "the drop from source to target cannot be measured"
    certain = drop.low is not None and drop.low > 0
    why = "" if certain else ": there may be none, so that no shares of it are given"
    return f"drop of AUC from source to target {_figure(drop, '+.3f')}{why}"


def _interval(found: Distance) -> str:
    return "" if found.low is None or found.high is None else f"{found.low:.3f} to {found.high:.3f}"
