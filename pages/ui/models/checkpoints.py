"""The cards of checkpoints, and the step that puts one into service."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from core.card import Card, UnusableCheckpointError, model_version
from db.values.accounts import Permission
from db.values.evaluations import Deployment
from pages.ui import components, formatting, resources
from pages.ui.resources import CheckpointFile
from service.worker.try_checkpoint import deploy

_ASKED = "checkpoint-to-put-into-service"  # in the session: the path that waits for a confirmation
_KEPT = (
    "New images are analysed by it. Images that were analysed already are **not** analysed again: their results stay "
    "as they are, and every read keeps what its reader saw."
)


def in_service(file: CheckpointFile) -> None:
    """Say which checkpoint is in service, since when, and all that its card tells."""
    chosen = resources.chosen()
    components.show_announcement(briefly=True)
    if file.card is None:
        st.error(
            f"No model is in service: {formatting.plain(file.problem or '')}. Put a checkpoint of the list below into "
            "service, or set SECOND_READ_CHECKPOINT to one and restart if none ever was."
        )
        return
    st.markdown(f"**{formatting.plain(file.card.name)}** &nbsp; version `{file.version}`")
    put = chosen.deployment
    since = f"put into service {formatting.day_and_clock(put.at)} by {put.account or 'the program'}" if put else ""
    st.caption(f"sha256 {file.sha256} &nbsp;·&nbsp; {since or 'from the settings; none was put into service yet'}")
    if file.card.demonstration:
        st.info(
            "This is a demonstration model. It was trained on a small public data set so that the program works out "
            "of the box; it is often wrong, and nobody has tested it on images like yours."
        )
    full_card(file.card)


def draw_history(put: Sequence[Deployment]) -> None:
    """List every checkpoint that was put into service, the newest first."""
    if not put:
        return
    with st.expander(f"All checkpoints that were put into service ({len(put):,})"):
        st.dataframe(
            {
                "from": [formatting.day_and_clock(each.at) for each in put],
                "name": [each.name for each in put],
                "version": [model_version(each.sha256) for each in put],
                "put into service by": [each.account or "the program" for each in put],
            },
            hide_index=True,
        )


def full_card(card: Card) -> None:
    """Draw how a network was made beside how good it was."""
    if card.note:
        st.markdown(card.note)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("##### How it was made")
        st.table(_facts(card), hide_header=True)
    with right:
        st.markdown("##### How good it was")
        _metrics(card)


def others(files: list[CheckpointFile], folder: Path) -> None:
    """List the checkpoints that could be put into service; one of them may wait for its confirmation."""
    if not files:
        st.markdown("There is no other checkpoint. Train one, or copy one into the folder of the models:")
        st.code(
            f"python -m training.train training/configs/starter.toml --data FOLDER\ncp CHECKPOINT {folder.name}/",
            "bash",
        )
    for file in sorted(files, key=lambda file: file.card is None):
        with st.expander(_title(file), expanded=st.session_state.get(_ASKED) == str(file.path)):
            _other(file)


def _other(file: CheckpointFile) -> None:
    key = f"{file.path}-{file.version}"
    st.caption(formatting.plain(f"{file.path}, sha256 {file.sha256}" if file.sha256 else str(file.path)))
    if file.card is None:
        st.error(f"It cannot be put into service: {formatting.plain(file.problem or '')}.")
        return
    if st.session_state.get(_ASKED) == str(file.path):
        _confirm(file, file.card, key)
    elif not resources.may(Permission.ADMINISTER):
        st.caption("An administrator can put it into service.")
    elif st.button("Put into service …", key=f"ask-{key}"):
        st.session_state[_ASKED] = str(file.path)
        st.rerun()
    full_card(file.card)


def _confirm(file: CheckpointFile, card: Card, key: str) -> None:
    with st.container(border=True):
        kind = "a **demonstration model**, not to be relied on" if card.demonstration else "no demonstration model"
        st.markdown(f"Put **{formatting.plain(card.name)}**, version `{file.version}`, {kind}, into service? {_KEPT}")
        st.markdown(f"Measured: {formatting.plain(_measured(card))}.")
        yes, no, _ = st.columns([1.4, 1.2, 2])
        sure = yes.button("Yes, put it into service", type="primary", key=f"yes-{key}", width="stretch")
        if no.button("Leave it as it is", key=f"no-{key}", width="stretch"):
            del st.session_state[_ASKED]
            st.rerun()
        if sure:
            _deploy(file)


def _deploy(file: CheckpointFile) -> None:
    try:
        with st.spinner("Loading it for trial …"):
            put = deploy(resources.sessions(), resources.settings(), file.path, resources.account().id)
    except UnusableCheckpointError as error:
        st.error(f"It was not put into service: {formatting.plain(str(error))}.")
        return
    del st.session_state[_ASKED]
    components.announce(
        f"{formatting.plain(put.name)} was put into service at {formatting.clock(put.at)}. The worker switches "
        "to it after the image it is analysing."
    )


def _title(file: CheckpointFile) -> str:
    if file.card is None:
        return f"! {formatting.plain(file.path.name)} – cannot be used"
    kind = " – demonstration" if file.card.demonstration else ""
    measured = f" – {formatting.plain(_measured(file.card, 1))}" if file.card.metrics else ""
    return f"**{formatting.plain(file.card.name)}** `{file.version}`{kind}{measured}"


def _measured(card: Card, most: int = 4) -> str:
    figures = [f"{m.name} {m.value:.3f} [{m.low:.3f}, {m.high:.3f}] ({m.protocol})" for m in card.metrics[:most]]
    return "; ".join(figures) or "nothing, its card names no figures"


def _metrics(card: Card) -> None:
    if not card.metrics:
        st.markdown("The card names no measurements.")
        return
    st.table(
        {
            "measure": [metric.name for metric in card.metrics],
            "value [95 % interval]": [f"{m.value:.3f} [{m.low:.3f}, {m.high:.3f}]" for m in card.metrics],
            "protocol": [metric.protocol for metric in card.metrics],
        },
        hide_index=True,
    )


def _facts(card: Card) -> dict[str, str]:
    policy, limits, data = card.input_policy, card.quality_limits, card.training_data
    squares = f"{policy.patch_side} px squares every {policy.stride} px, mean of their probabilities"
    whole = f"the whole image in one {policy.input_side} px square"
    locked = f", locked on {card.locked_on}" if card.locked_on else ""
    facts = {
        "Answers": f"{card.label_set.name}: {', '.join(card.label_set.classes)}",
        "Called malignant": f"from a probability of {card.threshold:.2f}{locked}",
        "Input": squares if policy.kind == "patches" else whole,
        "Network": f"{' + '.join(card.branches)}, {_joined(card)}, {card.views} view(s), {card.precision}",
        "Stain": card.stain.method if card.stain else "colours as they are",
        "Warned below": f"sharpness {limits.sharpness:g}, tissue {limits.tissue_fraction:.0%}",
        "Trained on": f"{data.dataset}: {data.images:,} images of {data.patients} patients. {data.note}",
        "Code version": card.code_version,
    }
    if card.abstention:
        a = card.abstention
        measured = f"opinion on {a.coverage:.0%} of the images, {a.error:.1%} of these wrong ({a.protocol})"
        facts["Abstention"] = f"fitted to a risk of {a.risk:.0%}: {measured}"
    return facts


def _joined(card: Card) -> str:
    fusion = "" if card.fusion == "concatenation" else f"{card.fusion.replace('_', ' ')} fusion, "
    told = {"ignored": "", "input": ", told the magnification", "auxiliary": ", trained to tell the magnification"}
    return f"{fusion}{card.head} head{told[card.magnification]}"
