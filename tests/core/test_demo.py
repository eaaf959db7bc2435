"""Generated tissue is the same for a seed, and its two kinds differ as they should."""

import numpy as np
import pytest

from core.imaging.demo import generate_tissue
from core.labels import Malignancy
from core.results import RgbImage


def nuclear_share(image: RgbImage) -> float:
    return float((image[..., 0] < 130).mean())


@pytest.mark.parametrize("malignancy", ["benign", "malignant"])
def test_the_same_seed_gives_the_same_tissue_and_another_seed_does_not(malignancy: Malignancy) -> None:
    first = generate_tissue(7, malignancy)
    assert first.shape == (460, 700, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, generate_tissue(7, malignancy))
    assert not np.array_equal(first, generate_tissue(8, malignancy))


@pytest.mark.parametrize("seed", range(5))
def test_malignant_tissue_is_more_crowded_with_nuclei_than_benign(seed: int) -> None:
    assert nuclear_share(generate_tissue(seed, "malignant")) > 1.5 * nuclear_share(generate_tissue(seed, "benign"))


def test_benign_tissue_has_open_lumina() -> None:
    lumina = (generate_tissue(2, "benign") > 220).all(axis=2).mean()
    assert 0.04 < lumina < 0.5


def test_tissue_comes_in_any_size_from_64_px() -> None:
    assert generate_tissue(1, "benign", 64, 300).shape == (64, 300, 3)
    assert generate_tissue(1, "malignant", 700, 64).shape == (700, 64, 3)
    with pytest.raises(ValueError, match="at least 64 px"):
        generate_tissue(1, "benign", 63, 300)
