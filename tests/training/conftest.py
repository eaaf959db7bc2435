"""Images to train on."""

import pytest

from core.data.datasets import LabelledImage
from tests.helpers.images.tissue import tissue_folder


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledImage]:
    """Two images of each of four patients."""
    return tissue_folder(tmp_path_factory.mktemp("tissue"))
