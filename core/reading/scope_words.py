"""What a reader is told of images that are unlike the training images of a model."""

from collections.abc import Iterable

from core.results import OUT_OF_SCOPE, Scope, ScopeLevel

UNUSUAL = "Unusual image: rely less on the model's opinion"
# Of a case: the sign goes with the words, as those of benign and malignant do.
NO_OPINION = "⊘ no opinion"

# What exports say in the column of a read.
SHOWN_SCOPES = (
    "in: like the training images; unusual: the opinion was shown with a caution, because an image was unusual or was "
    "left out; out: the model gave no opinion, because the images are unlike the training images; empty: not shown or "
    "not measured"
)


def write_scope(scope: Scope) -> str:
    """Return what is said of an image, with the reasons; empty if it is like the training images."""
    words: dict[ScopeLevel, str] = {"in": "", "unusual": UNUSUAL, "out": OUT_OF_SCOPE}
    reasons = f" ({'; '.join(scope.reasons)})" if scope.reasons else ""
    return f"{words[scope.level]}{reasons}." if words[scope.level] else ""


def write_scopes(scopes: Iterable[tuple[int, Scope]], *, alone: bool) -> list[str]:
    """Return what is said of the images of a case, by position; `alone` says that it has only one image."""
    written = [(position, write_scope(scope)) for position, scope in scopes]
    return [words if alone else f"Image {position}: {words}" for position, words in written if words]
