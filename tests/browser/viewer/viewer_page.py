"""A page with one viewer, as small as a page can be: what `test_viewer.py` looks at."""

import streamlit as st

from db.values.reading import Region, RegionKind
from pages.ui.viewer import (
    FormMarks,
    HeatmapLayer,
    KnownLength,
    MarkSheet,
    OthersMarks,
    Scene,
    ViewedImage,
    draw_viewer,
)

st.set_page_config(layout="wide", page_title="Viewer")
tissue, form = st.columns([2.2, 1])
with form:
    revealed = st.toggle("reveal", value="map" in st.query_params)
    unlike = revealed and "unlike" in st.query_params
    damaged = st.toggle("damaged")
    note = st.text_area("note")
    st.radio("opinion", ["benign", "malignant"])
    if st.button("save", shortcut="Enter"):
        st.session_state["saved"] = st.session_state.get("saved", 0) + 1
    st.write(f"saved {st.session_state.get('saved', 0)} times")
    st.write(f"note is {note!r}")

COUNT = 4
# Of all images: what the address says, or what the reader has set with the ruler.
stated = st.session_state.get("measured") or float(st.query_params.get("scale", 0))
scale = stated or None


def _image(number: int) -> ViewedImage:
    evidence = HeatmapLayer(f"/images/{number}/heatmap", -2.4, 3.6) if revealed else None
    return ViewedImage(
        number,
        "/images/missing" if damaged and number == 1 else f"/images/{number}",
        f"/images/{number}/thumbnail",
        700,
        460,
        f"image {number} of {COUNT}",
        "sharp, 82% tissue",
        # Of the third image the model gave no opinion: only the map of its scope is there.
        None if number == 3 and unlike else evidence,
        f"/images/{number}/scope-map" if unlike and number in (2, 3) else None,
        um_per_px=scale,
        scale_words="0.5 µm per pixel, from the TIFF's tags" if scale else "unknown",
        scale_is_measured="measured" in st.session_state,
    )


def _keep(now: FormMarks) -> None:
    st.session_state["marks"] = now.regions


def _scale(known: KnownLength) -> None:
    st.session_state["measured"] = known.um_per_px


def _scene() -> Scene | None:
    if "marks" not in st.query_params:
        return None
    regions = st.session_state.setdefault("marks", ())
    wanted = st.query_params["marks"]
    form, overtaken = ("final-7", ("first-7",)) if wanted == "final" else ("first-7", ())
    sheet = MarkSheet(form, regions, editable=wanted != "saved", owner=1, session="one", overtaken=overtaken)
    others = (OthersMarks("reader 2", (Region(1, RegionKind.BOX, ((20.0, 20.0), (60.0, 60.0))),)),)
    can_scale = wanted == "1"
    return Scene(sheet, others if "others" in st.query_params else (), _keep, _scale if can_scale else None)


with tissue:
    draw_viewer([_image(number) for number in range(1, COUNT + 1)], key="case-7", height=600, scene=_scene())
with form:
    marks = st.session_state.get("marks", ())
    st.text(repr([(region.image_id, region.kind.value, region.points, region.note) for region in marks]))
