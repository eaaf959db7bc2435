"""Turns the bytes of an image into an analysis; knows neither Streamlit nor SQL."""
