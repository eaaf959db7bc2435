"""The keyboard help of the reading pages: every key and what it does."""

import streamlit as st

_KEYS = """
| Key | Action |
|---|---|
| **B** **M** **X** | Benign, malignant, cannot assess |
| **1** … **5** | Confidence, from 1 (a guess) to 5 (certain) |
| **Enter** | Save; inside a text field **Ctrl+Enter** |
| **G** | Meet the model: confirm "I have read this" |
| **A** **D** | After the reveal: keep or change your opinion |
| **Y** **O** **U** | Map useful: yes, no, unsure |
| **N** | Next case |
| **W** | Undo the last final opinion within 60 s (a first opinion stays: the model's has been shown) |
| **7** **8** **9** | Adjudication severity: none, minor, major |
| **Q** | Study: pause (no skipping, undo or sign-off in a study) |
| **P** **T** **F** | Mark a point, box or shape; **arrows** move, **Space** marks at the crosshair, **Esc** cancels |
| **L** | Ruler while you enter an opinion; afterwards sign off (**S** confirms) or amend the sign-off |
| **E** **Ctrl+Z** | Note on the last mark; undo the last change to the marks |
| **H** **K** **[** **]** | Heat map, contour, less or more opacity |
| **J** | Switch between the heat map and the map of differences from the training images |
| **0** **Z** **+** **−** | Fit the image, 100%, zoom in, zoom out |
| **←** **→** | Previous or next image of the case |
"""


def show_keyboard_help() -> None:
    """Show the button that opens the list of keys."""
    with st.popover("? Keys", type="tertiary"):
        st.markdown(_KEYS)
