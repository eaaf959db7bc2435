"""The checkpoint in service, the other checkpoints available, and the training runs."""

import streamlit as st

from db import store
from pages.ui import resources
from pages.ui.models import checkpoints, map_trust, microscopes, training_runs
from service.worker.checkpoint_in_service import list_checkpoints

with resources.sessions().read() as session:
    known = list_checkpoints(session, resources.settings())
    runs = store.models.runs(session)
    deployments = store.models.deployments(session)
current = resources.checkpoint()
st.subheader("Model in service")
checkpoints.draw_in_service(current)
checkpoints.draw_shipped(resources.shipped())
map_trust.draw_map_trust(current)
checkpoints.draw_history(deployments)
st.subheader("Other checkpoints")
available = [
    resources.checkpoint_file(path) for path in known if current.card is None or path != current.path.resolve()
]
checkpoints.draw_others(available, resources.settings().checkpoint.parent)
st.subheader("Training runs")
training_runs.draw_training_runs(runs)
st.subheader("Microscopes")
microscopes.draw_microscopes()
