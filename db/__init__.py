"""Keeps what was found and what readers said; knows neither Streamlit nor torch."""
