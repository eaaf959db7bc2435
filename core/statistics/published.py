"""Published results shown beside our own, each with the protocol that determines what it is worth."""

from dataclasses import dataclass

from core.statistics import figure_names

_NO_LETTERS = "split by patient, but it is not stated whether all letters of one accession number stayed together"


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """One metric as printed; `spread` is its standard deviation over folds, `of` the images it was measured on."""

    name: str  # as in `figure_names`, if it is listed there
    value: float
    spread: float | None = None
    of: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.value <= 1 or not (self.spread is None or self.spread >= 0):
            raise ValueError(f"{self.name}: the value must lie in 0..1 and the spread must not be negative")


@dataclass(frozen=True, slots=True)
class Published:
    """The reported results of one system, and whether patients leaked from training into its test."""

    system: str
    dataset: str
    protocol: str
    leaks: bool | None  # None: cannot be determined from the publication
    reason: str
    figures: tuple[PublishedFigure, ...]
    confusion: tuple[tuple[int, int], tuple[int, int]] | None = None  # rows benign, malignant

    def __post_init__(self) -> None:
        if not self.reason or not self.figures:
            raise ValueError(
                f"{self.system}: a published row needs at least one metric, and a reason for its leak status"
            )

    @property
    def of_subtypes(self) -> bool:
        """Whether the task was to tell the eight subtypes apart, not benign from malignant."""
        return not any(figure.name in figure_names.BINARY_FIGURES for figure in self.figures)


PUBLISHED = (
    Published(
        "hybrid EfficientNetV2-S + ViT-B/16",
        "BreaKHis",
        "GroupShuffleSplit by accession number, 48 / 11 / 11 groups",
        leaks=False,
        reason="70 groups are the 70 accession numbers without letters",
        figures=(
            PublishedFigure(figure_names.AUC, 0.9199, of="validation"),
            PublishedFigure(figure_names.ACCURACY, 0.7907),
            PublishedFigure(figure_names.AUC, 0.8048),
            PublishedFigure(figure_names.PRECISION, 0.7847),
            PublishedFigure(figure_names.RECALL, 0.8496),
            PublishedFigure(figure_names.F1, 0.8159),
        ),
    ),
    Published(
        "hybrid EfficientNetV2-S + ViT-B/16, Reinhard and averaged views",
        "BACH",
        "external: trained on BreaKHis, 440 images",
        leaks=False,
        reason="the training set is another dataset; the mirror's 440 files are 40 more than the official 400",
        figures=(PublishedFigure(figure_names.ACCURACY, 0.6773), PublishedFigure(figure_names.AUC, 0.6811)),
    ),
    Published(
        "hybrid EfficientNetV2-S + ViT-B/16, after quality control",
        "BACH",
        "external: trained on BreaKHis, 275 images left by quality control",
        leaks=False,
        reason="the training set is another dataset; the mirror's files are more than the official 400",
        figures=(PublishedFigure(figure_names.ACCURACY, 0.6327), PublishedFigure(figure_names.AUC, 0.6280)),
    ),
    Published(
        "EfficientNet-B0",
        "BreaKHis",
        "patient-wise 70 / 15 / 15, Youden threshold .2067",
        leaks=None,
        reason=_NO_LETTERS,
        figures=(
            PublishedFigure(figure_names.AUC, 0.853),
            PublishedFigure(figure_names.PR_AUC, 0.893),
            PublishedFigure(figure_names.RECALL, 0.888),
            PublishedFigure(figure_names.SPECIFICITY, 0.576),
        ),
        confusion=((220, 162), (59, 468)),
    ),
    Published(
        "EfficientNet-B0, eight subtypes",
        "BreaKHis",
        "patient-wise 70 / 15 / 15",
        leaks=None,
        reason=_NO_LETTERS,
        figures=(PublishedFigure(figure_names.MICRO_F1, 0.788), PublishedFigure(figure_names.MACRO_F1, 0.327)),
    ),
    Published(
        "ResNet50, 224 px patches",
        "BreaKHis",
        "split unknown",
        leaks=None,
        reason="the split was not published",
        figures=(PublishedFigure(figure_names.ACCURACY, 0.89), PublishedFigure(figure_names.AUC, 0.93)),
    ),
    Published(
        "CNN from scratch, class weights",
        "BreaKHis",
        "split by image",
        leaks=True,
        reason="images of one patient are on both sides",
        figures=(PublishedFigure(figure_names.ACCURACY, 0.845), PublishedFigure(figure_names.RECALL, 0.863)),
    ),
    Published(
        "CNN from scratch, class weights and augmentation",
        "BreaKHis",
        "split by image",
        leaks=True,
        reason="images of one patient are on both sides",
        figures=(PublishedFigure(figure_names.ACCURACY, 0.851), PublishedFigure(figure_names.RECALL, 0.946)),
    ),
    Published(
        "CNN from scratch, eight subtypes",
        "BreaKHis",
        "split by image",
        leaks=True,
        reason="images of one patient are on both sides",
        figures=(
            PublishedFigure(figure_names.CLASS_ACCURACY, 0.649),
            PublishedFigure(figure_names.MACRO_RECALL, 0.620),
            PublishedFigure(figure_names.MACRO_AUC, 0.933),
        ),
    ),
    Published(
        "ResNet50, best of nine networks",
        "BreaKHis",
        "patient-aware 5-fold; the nine lie at .91 to .93, none significantly different",
        leaks=None,
        reason=_NO_LETTERS,
        figures=(PublishedFigure(figure_names.ACCURACY, 0.9267, 0.0435),),
    ),
    Published(
        "frozen CTransPath",
        "BreaKHis",
        "16 held-out patients",
        leaks=None,
        reason=_NO_LETTERS,
        figures=(PublishedFigure(figure_names.AUC, 0.9668),),
    ),
    Published(
        "PFTAS and SVM (Spanhol et al., IEEE TBME 2016)",
        "BreaKHis",
        "the five official folds",
        leaks=True,
        reason="number 13412 is in train and in test of folds 1, 3 and 5, once as ductal and once as lobular",
        figures=(
            PublishedFigure(figure_names.PATIENT_RECOGNITION_RATE, 0.816, 0.030, "40X"),
            PublishedFigure(figure_names.PATIENT_RECOGNITION_RATE, 0.799, 0.054, "100X"),
            PublishedFigure(figure_names.PATIENT_RECOGNITION_RATE, 0.851, 0.031, "200X"),
            PublishedFigure(figure_names.PATIENT_RECOGNITION_RATE, 0.823, 0.038, "400X"),
        ),
    ),
)

# Human performance: agreement of single pathologists with a panel's consensus, not a metric of any network.
HUMAN_REFERENCE = Published(
    "pathologists (Elmore et al., JAMA 2015)",
    "breast biopsies",
    "agreement of single readers with the consensus of a panel",
    leaks=False,
    reason="no readers were trained on these cases",
    figures=(
        PublishedFigure("concordance", 0.753),
        PublishedFigure("concordance", 0.87, of="benign"),
        PublishedFigure("concordance", 0.48, of="atypia"),
        PublishedFigure("concordance", 0.84, of="ductal carcinoma in situ"),
        PublishedFigure("concordance", 0.96, of="invasive"),
    ),
)
