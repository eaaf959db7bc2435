"""Values of similar cases: images of signed-off cases that lie near those of a case, for the network that saw both."""

from dataclasses import dataclass

from core.labels import Malignancy


@dataclass(frozen=True, slots=True)
class StoredEmbedding:
    """Where an image lies for a network: half-precision numbers, little-endian, of length 1."""

    id: int
    embedding: bytes


@dataclass(frozen=True, slots=True)
class CaseEmbeddings:
    """Where the images of a case lie for the model that is shown; empty if its results are older than embeddings."""

    network: str
    images: tuple[StoredEmbedding, ...]


@dataclass(frozen=True, slots=True)
class ComparableImage:
    """An image of a signed-off case that a reader may be shown beside another case."""

    embedding: StoredEmbedding
    image_id: int
    case_id: int
    label: Malignancy
    subtype: str | None
    magnification: str | None


@dataclass(frozen=True, slots=True)
class SimilarCase:
    """The nearest image of one signed-off case; nothing tells which case it is.

    `distance` is 0 for the same picture, and at most 2.
    """

    image_id: int
    label: Malignancy
    subtype: str | None
    magnification: str | None
    distance: float


@dataclass(frozen=True, slots=True)
class SimilarCases:
    """The signed-off cases that are most like a case, nearest first.

    `typical` is the median distance of all images here that the model has seen. If the case `lacks_embeddings`, which
    others of the model have, nothing can be compared.
    """

    cases: tuple[SimilarCase, ...] = ()
    typical: float | None = None
    lacks_embeddings: bool = False
