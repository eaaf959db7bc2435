"""From the bytes of an image to its analysis; this package knows neither Streamlit nor SQL."""

import gc

# Imports and pages make many objects that stay: to look through them after every 700 new ones, as Python does by
# itself, is a fifth of the time of every start.
gc.set_threshold(10_000, 10, 10)
