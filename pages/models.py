"""The checkpoint in service, the others that could be, and how networks were trained."""

import streamlit as st

from db import store
from pages.ui import resources
from pages.ui.models import checkpoints, training_runs
from service.worker.checkpoint_in_service import known_checkpoints

with resources.sessions().read() as session:
    known = known_checkpoints(session, resources.settings())
    runs = store.models.runs(session)
    put = store.models.deployments(session)
current = resources.checkpoint()
st.subheader("Model in service")
checkpoints.in_service(current)
checkpoints.draw_history(put)
st.subheader("Other checkpoints")
rest = [resources.checkpoint_file(path) for path in known if current.card is None or path != current.path.resolve()]
checkpoints.others(rest, resources.settings().checkpoint.parent)
st.subheader("Training runs")
training_runs.training_runs(runs)
