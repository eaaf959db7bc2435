"""The checkpoint in service, the others that could be, and how networks were trained."""

import streamlit as st

from db import store
from pages.ui import checkpoints, resources, training_runs
from service.deployed import known_checkpoints

with resources.sessions().read() as session:
    known = known_checkpoints(session, resources.settings())
    runs = store.runs(session)
    put = store.deployments(session)
current = resources.checkpoint()
st.subheader("Model in service")
checkpoints.in_service(current)
checkpoints.draw_history(put)
st.subheader("Other checkpoints")
rest = [resources.checkpoint_file(path) for path in known if current.card is None or path != current.path.resolve()]
checkpoints.others(rest, resources.settings().checkpoint.parent)
st.subheader("Training runs")
training_runs.training_runs(runs)
