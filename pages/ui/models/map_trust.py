"""The map trust card: how far the heat maps of the model in service can be trusted, in words a pathologist reads."""

from collections.abc import Iterator, Sequence

import plotly.graph_objects as go
import streamlit as st

from core.statistics.map_trust import BranchAgreement, MapTrust, RedrawnWeights
from core.statistics.rates import wilson_interval
from core.statistics.resampling import Interval
from core.wording import count_words, interval_words
from db.values.accounts import Permission
from db.values.agreement import MapVotes
from pages.ui import formatting, resources
from pages.ui.charts import COLOURS, MARGIN, SIGNS, TEXT_SIZE, as_png
from service.worker.checkpoint_in_service import CheckpointFile

# Two maps of which one explains a quarter of the ranks of the other; there is no accepted limit.
_ALIKE = 0.5
_CURVES_HEIGHT = 380  # px
_NOT_MEASURED = (
    "Not measured for this version. It can be measured on the server, on images that the model was trained on or "
    "on labelled images of this site; it takes some seconds for each image:"
)
_MEANING = (
    "A map that passes these tests shows what the model uses. It does not show where a tumour is, or that the model is "
    "right. Intervals are 95%, by resampling patients."
)


def draw_map_trust(file: CheckpointFile) -> None:
    """Draw what was measured on the heat maps of a checkpoint, and what readers say of them."""
    if file.card is None:
        return
    st.markdown("##### How far its heat maps can be trusted")
    found = resources.map_trust(file)
    for problem in found.problems:
        st.warning(f"Not shown: {formatting.escape(problem)}.")
    if found.trust is None:
        st.markdown(_NOT_MEASURED)
        st.code(f"python -m training.map_trust {file.path.parent.name}/{file.path.name} --data FOLDER", "bash")
        _draw_lines([_write_votes(file.version)])
        return
    st.caption(formatting.escape(_write_images(found.trust)))
    words, curves = st.columns([1.5, 1], gap="large")
    with words:
        _draw_lines([*write_findings(found.trust), _write_votes(file.version)])
    with curves:
        st.plotly_chart(
            draw_curves(found.trust),
            config=as_png(f"map-trust-{file.version}"),
            key="map-trust",
            alt="Probability of the model's own label while regions are blurred or shown, by the map and at random",
        )
    st.caption(_MEANING)


def _draw_lines(lines: Sequence[str]) -> None:
    st.markdown("\n".join(f"* {line}" for line in lines))


def _write_images(trust: MapTrust) -> str:
    known = {0: "none of whom", trust.patients: "all of whom"}.get(trust.trained_on, f"{trust.trained_on:,} of whom")
    images, patients = (
        count_words(number, noun) for number, noun in ((trust.images, "image"), (trust.patients, "patient"))
    )
    cautions = "".join(f" {formatting.capitalise(caution.words)}." for caution in trust.warnings)
    return f"Measured on {images} of {patients} ({trust.dataset}), {known} the model was trained on.{cautions}"


def write_findings(trust: MapTrust) -> Iterator[str]:
    """Write what each measurement found and what it means, one sentence or two for each."""
    yield (
        "**Blurred first.** When the regions that the map marks most are blurred first, the probability of the "
        f"model's own label is, on average, {_write_advantage(trust.deletion.advantage, ('lower', 'higher'))}"
    )
    yield (
        "**Shown first.** When these regions of a blurred image are restored first, that probability is, on average, "
        f"{_write_advantage(trust.insertion.advantage, ('higher', 'lower'))}"
    )
    yield _write_redrawn(trust.redrawn)
    if not trust.branches:
        yield "**Branches.** This network has one branch, so there is no second map that could agree or disagree."
    yield from map(_write_branches, trust.branches)


def _write_advantage(advantage: Interval, directions: tuple[str, str]) -> str:
    """Write how much better than a random order the map's is; `directions` are the better and the worse one."""
    low, high = advantage.low, advantage.high
    shown, direction, verdict = advantage, directions[0], " **the map marks what the model uses.**"
    if high is not None and high < 0:
        shown, direction, verdict = -advantage, directions[1], " **the map is worse than chance.**"
    elif low is None or low <= 0:
        why = "There is no interval" if low is None else "The interval includes 0"
        return (
            f"{direction} by {_escaped(shown)} than with regions in a random order. {why}: **this does not show that "
            "the map marks what the model uses.**"
        )
    return f"{direction} by {_escaped(shown)} than with regions in a random order:{verdict}"


def _write_redrawn(redrawn: RedrawnWeights) -> str:
    learned = max(redrawn.head.value, redrawn.all_weights.value) < _ALIKE
    verdict = (
        "the map depends on what the model learned"
        if learned
        else "much of the map does not depend on what the model learned"
    )
    return (
        "**Random weights.** With its last layers random, the network produces maps whose rank correlation with the "
        f"real ones is {_escaped(redrawn.head)}; with all weights random, {_escaped(redrawn.all_weights)}. Identical "
        f"maps have 1, random maps of the same smoothness {_escaped(redrawn.chance)}: **{verdict}.**"
    )


def _write_branches(pair: BranchAgreement) -> str:
    found = pair.correlation
    if found.value >= _ALIKE:
        verdict = "they mark mostly the same regions"
    elif found.low is not None and found.low > 0:
        verdict = "they agree in part"
    else:
        verdict = "they do not agree, and the heat map is the sum of both"
    first, second = formatting.escape(pair.first), formatting.escape(pair.second)
    return (
        f"**Branches.** The maps of {first} and {second} have a rank correlation of {_escaped(found)}; identical ones "
        f"have 1, unrelated ones 0: **{verdict}.**"
    )


def _write_votes(version: str) -> str:
    """Write what readers said, as far as this account may know it."""
    if not resources.may(Permission.SEE_AGREEMENT):
        return "**Readers here.** Their votes are shown to readers and researchers."
    votes = resources.map_votes(version)
    whose = "in cases that you have finished" if resources.may(Permission.READ_CASES) else "in finished cases"
    if not votes.cast:
        return f"**Readers here.** Nobody has voted on maps of this version {whose}; demo cases are not counted."
    return f"**Readers here.** {_count_votes(votes)} {whose}, without demo cases. It is an opinion, not a measurement."


def _count_votes(votes: MapVotes) -> str:
    rate = wilson_interval(votes.yes, votes.cast)
    share = formatting.escape(f"{rate.value:.0%} [{rate.low:.0%}, {rate.high:.0%}]")
    count = count_words(votes.cast, "vote")
    cast = f"{votes.yes:,} yes, {votes.no:,} no, {votes.unsure:,} unsure"
    return f"Whether the map was useful: {cast}, so {share} of {count}"


def _escaped(figure: Interval) -> str:
    return formatting.escape(interval_words(figure))


def draw_curves(trust: MapTrust) -> go.Figure:
    """Draw the probability of the model's own label against the share of the image that is blurred, or shown."""
    figure = go.Figure()
    for place, (name, test) in enumerate((("blurred", trust.deletion), ("shown", trust.insertion))):
        _add_curve(figure, f"{name} by the map", test.by_map, place, by_map=True)
        _add_curve(figure, f"{name} at random", test.by_random, place, by_map=False)
    axis = {"fixedrange": True, "zeroline": False, "title_font_size": TEXT_SIZE, "tickfont_size": TEXT_SIZE}
    figure.update_xaxes(title_text="share of the image blurred, or shown", range=[-0.02, 1.02], **axis)
    figure.update_yaxes(title_text="probability of its own label", range=[0, 1.02], **axis)
    return figure.update_layout(
        height=_CURVES_HEIGHT,
        margin=MARGIN,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1, "x": 0, "font": {"size": TEXT_SIZE}},
        hovermode="closest",
    )


def _add_curve(figure: go.Figure, name: str, curve: Sequence[float], place: int, *, by_map: bool) -> None:
    symbol = SIGNS[place] if by_map else f"{SIGNS[place]}-open"
    figure.add_trace(
        go.Scatter(
            x=[step / (len(curve) - 1) for step in range(len(curve))],
            y=curve,
            name=name,
            mode="lines+markers",
            line={"color": COLOURS[place], "dash": "solid" if by_map else "dot", "width": 2},
            marker={"color": COLOURS[place], "symbol": symbol, "size": 7},
            hovertemplate="%{x:.0%}: %{y:.3f}<extra>%{fullData.name}</extra>",
        )
    )
