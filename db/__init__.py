"""Store cases, the model's results and the readers' opinions; independent of Streamlit and torch."""
