"""From the bytes of an image to its analysis; this package knows neither Streamlit nor SQL."""
