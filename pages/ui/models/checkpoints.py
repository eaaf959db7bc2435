"""Draw the checkpoint in service and the others, and put one into service."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from core.card import Card, UnusableCheckpointError, model_version
from core.statistics.evaluation import Figure
from core.statistics.figure_names import AUC
from core.statistics.shift import Shift
from core.wording import interval_words
from db.values.accounts import Permission
from db.values.evaluations import Deployment
from pages.ui import components, formatting, resources, times
from pages.ui.domain_shift import explanations
from pages.ui.models import model_card, site_calibration, thresholds
from service.shipped_evaluations import Shipped
from service.worker.checkpoint_in_service import CheckpointFile
from service.worker.try_checkpoint import put_into_service

_TO_CONFIRM = "checkpoint-to-put-into-service"  # session key: the path of the checkpoint to confirm
_EFFECT = (
    "It will analyse new images. Images already analysed are **not** analysed again: their results stay as they are, "
    "and every read keeps what its reader saw."
)


def draw_in_service(file: CheckpointFile) -> None:
    """Draw which checkpoint is in service, since when, and its card."""
    deployment = resources.checkpoint_in_service().deployment
    components.show_announcement(briefly=True)
    if file.card is None:
        st.error(
            f"No model is in service: {formatting.escape(file.problem or '')}. Put a checkpoint from the list below "
            "into service. If none has been in service yet, you can also set SECOND_READ_CHECKPOINT to one and restart."
        )
        return
    st.markdown(f"**{formatting.escape(file.card.name)}** &nbsp; version `{file.version}`")
    since = (
        f"put into service {times.format_date_time(deployment.at)} by "
        f"{formatting.escape(deployment.account or 'the program')}"
        if deployment
        else "from the settings; no checkpoint has been put into service yet"
    )
    st.caption(f"sha256 {file.sha256} &nbsp;·&nbsp; {since}")
    _draw_computing()
    if file.card.demonstration:
        st.info(
            "This is a demonstration model. It was trained on a small public data set so that the program works out "
            "of the box. It is often wrong and has not been tested on images like yours."
        )
    thresholds.draw_thresholds(file.card, file.version)
    site_calibration.draw_site_calibration(file)
    st.page_link("meet_model.py", label="Meet the model: an explanation for readers")
    model_card.draw_card(file.card)


def _draw_computing() -> None:
    """Draw how the workers of this server compute, and why that is not as configured."""
    computing = resources.computing()
    if computing is None:
        return
    st.caption(f"Computed with {computing.backend} on {'the GPU' if computing.device == 'cuda' else 'the CPU'}")
    if computing.caution is not None:
        # No backend that changes a label is used, whatever the settings say.
        st.warning(f"Slower than configured, with the same results: {formatting.escape(computing.caution)}.")


def draw_shipped(shipped: Shipped) -> None:
    """Draw the evaluations and comparisons that came with the checkpoint, and where they are shown in full."""
    if not (shipped.evaluations or shipped.shifts or shipped.problems):
        return
    st.markdown("##### Shipped with the model")
    measured = [(one.row, resources.measure_for_account(one.row)) for one in shipped.evaluations]
    evaluations = [(row, evaluation) for row, evaluation in measured if evaluation is not None]
    shifts = [Shift.from_json(row.document) for row in shipped.shifts]
    if evaluations:
        st.table(
            {
                "Evaluated on": [formatting.escape(f"{row.dataset}, {row.split}") for row, _ in evaluations],
                "Images": [f"{one.images:,} of {one.patients:,} patients" for _, one in evaluations],
                "AUC by image": [_auc_words(one.figure(AUC)) for _, one in evaluations],
                "AUC by patient": [_auc_words(one.figure(AUC, "patient")) for _, one in evaluations],
            },
            hide_index=True,
        )
        st.page_link("evaluation.py", label="Evaluation: curves, images, patients and groups")
    for shift in shifts:
        st.markdown(formatting.escape(explanations.verdict(shift)))
    if shifts:
        st.page_link("domain_shift.py", label="Domain shift: what differs, and what each preparation step changes")
    for problem in shipped.problems:
        st.warning(f"Not shown: {formatting.escape(problem)}.")


def draw_history(deployments: Sequence[Deployment]) -> None:
    """List every checkpoint that was put into service, the newest first."""
    if not deployments:
        return
    with st.expander(f"All checkpoints put into service ({len(deployments):,})"):
        st.dataframe(
            {
                "From": [times.format_date_time(each.at) for each in deployments],
                "Name": [each.name for each in deployments],
                "Version": [model_version(each.sha256) for each in deployments],
                "Put into service by": [each.account or "the program" for each in deployments],
            },
            hide_index=True,
        )


def draw_others(files: list[CheckpointFile], folder: Path) -> None:
    """List the checkpoints that can be put into service; one of them may be waiting for confirmation."""
    if not files:
        st.markdown("There are no other checkpoints. Train one, or copy one into the model folder:")
        st.code(
            "python -m training.train training/configs/recipes/lite0_head_fine.toml --data FOLDER\n"
            f"cp CHECKPOINT {folder.name}/",
            "bash",
        )
    for file in sorted(files, key=lambda file: file.card is None):
        with st.expander(_title(file), expanded=st.session_state.get(_TO_CONFIRM) == str(file.path)):
            _draw_other(file)


def _draw_other(file: CheckpointFile) -> None:
    key = f"{file.path}-{file.version}"
    st.caption(formatting.escape(f"{file.path}, sha256 {file.sha256}" if file.sha256 else str(file.path)))
    if file.card is None:
        st.error(f"It cannot be put into service: {formatting.escape(file.problem or '')}.")
        return
    if st.session_state.get(_TO_CONFIRM) == str(file.path):
        _ask_to_confirm(file, file.card, key)
    elif not resources.may(Permission.ADMINISTER):
        st.caption("An administrator can put it into service.")
    elif st.button("Put into service …", key=f"ask-{key}"):
        st.session_state[_TO_CONFIRM] = str(file.path)
        st.rerun()
    model_card.draw_card(file.card)


def _ask_to_confirm(file: CheckpointFile, card: Card, key: str) -> None:
    with st.container(border=True):
        kind = "a **demonstration model**, not to be relied on" if card.demonstration else "not a demonstration model"
        st.markdown(
            f"Put **{formatting.escape(card.name)}**, version `{file.version}`, {kind}, into service? {_EFFECT}"
        )
        st.markdown(f"Measured: {formatting.escape(model_card.summarise_metrics(card))}.")
        yes, no, _ = st.columns([1.4, 1.2, 2])
        confirmed = yes.button("Yes, put it into service", type="primary", key=f"yes-{key}", width="stretch")
        if no.button("Cancel", key=f"no-{key}", width="stretch"):
            del st.session_state[_TO_CONFIRM]
            st.rerun()
        if confirmed:
            _deploy(file)


def _deploy(file: CheckpointFile) -> None:
    try:
        with st.spinner("Loading the checkpoint to test it …"):
            deployment = put_into_service(resources.sessions(), resources.settings(), file.path, resources.account().id)
    except UnusableCheckpointError as error:
        st.error(f"It was not put into service: {formatting.escape(str(error))}.")
        return
    del st.session_state[_TO_CONFIRM]
    components.announce(
        f"{formatting.escape(deployment.name)} was put into service at {times.format_time(deployment.at)}. The "
        "worker switches to it after the image it is analysing."
    )


def _title(file: CheckpointFile) -> str:
    if file.card is None:
        return f"! {formatting.escape(file.path.name)} – cannot be used"
    kind = " – demonstration" if file.card.demonstration else ""
    measured = f" – {formatting.escape(model_card.summarise_metrics(file.card, 1))}" if file.card.metrics else ""
    return f"**{formatting.escape(file.card.name)}** `{file.version}`{kind}{measured}"


def _auc_words(figure: Figure | None) -> str:
    return formatting.escape(interval_words(figure))
