"""The app of `test_viewer.py`: made-up images, their heat maps, the vendored library, and one page with a viewer.

Real images instead: set VIEWER_IMAGES to a folder of PNGs.
"""

import os
from pathlib import Path

import cv2
import numpy as np
import streamlit as st
from fastapi import FastAPI, HTTPException, Response
from fastapi.staticfiles import StaticFiles
from numpy.typing import NDArray

from pages.ui.viewer import VENDOR

HEIGHT, WIDTH = 460, 700

ui = st.App(str(Path(__file__).with_name("viewer_page.py")))
app = FastAPI(lifespan=ui.lifespan())


def _png(pixels: NDArray[np.uint8]) -> Response:
    return Response(cv2.imencode(".png", pixels)[1].tobytes(), media_type="image/png")


def _tissue(number: int) -> NDArray[np.uint8]:
    folder = os.environ.get("VIEWER_IMAGES")
    if folder:
        chosen = sorted(Path(folder).rglob("*.png"))[:: max(1, len(list(Path(folder).rglob("*.png"))) // 5)][number]
        return np.asarray(cv2.imread(str(chosen)), np.uint8)
    chance = np.random.default_rng(number)
    image = np.full((HEIGHT, WIDTH, 3), (225, 190, 235), np.uint8)
    for x, y, size in chance.integers((0, 0, 4), (WIDTH, HEIGHT, 12), (250, 3)):
        cv2.circle(image, (int(x), int(y)), int(size), (130, 50, 90 + 20 * number), -1)
    return image


@app.get("/images/missing")
def missing() -> None:
    raise HTTPException(404)


@app.get("/images/{number}")
def image(number: int) -> Response:
    return _png(_tissue(number))


@app.get("/images/{number}/thumbnail")
def thumbnail(number: int) -> Response:
    return _png(np.asarray(cv2.resize(_tissue(number), (140, 92), interpolation=cv2.INTER_AREA), np.uint8))


@app.get("/images/{number}/heatmap")
def heatmap(number: int) -> Response:
    """Smooth evidence at half the image's size, from 0 to 255."""
    rough = np.random.default_rng(number).random((HEIGHT // 2, WIDTH // 2), np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), 22)
    return _png(np.asarray(cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX), np.uint8))  # type: ignore[call-overload]


@app.get("/images/{number}/scope-map")
def scope_map(number: int) -> Response:
    """The left is like the training images, the right is not."""
    del number
    return _png(np.tile(np.linspace(0, 255, WIDTH // 2).astype(np.uint8), (HEIGHT // 2, 1)))


app.mount("/assets", StaticFiles(directory=VENDOR))
app.mount("/", ui)
