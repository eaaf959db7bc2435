"""Cases, images and analyses for the tests of the store."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Barrier

from sqlalchemy.orm import Session

from core.labels import BREAKHIS
from core.results import Analysis, Finding, Prediction, Quality
from db import store
from db.access_models import Base
from db.evaluation_values import EvaluatedImage, NewEvaluation
from db.reading_models import (
    Assignment,
    Consensus,
    ConsensusRead,
    Priority,
    Region,
    SignOff,
    Study,
    StudyPlace,
)
from db.reading_values import Arm, RegionKind, Severity
from db.session import Sessions
from db.values import Job, ModelIdentity, Opinion, Role, StoredHeatmap, StoredImage

OPENED = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
QUALITY = Quality(41.5, 0.62, (Finding("warning", "blurred (41, limit 75)"),))
MODEL = ModelIdentity("3f9a1c22b0e4", "starter", demonstration=True)
NEWER_MODEL = ModelIdentity("77aa00bb11cc", "hybrid", demonstration=False)
BENIGN = Opinion("benign", 4)
MALIGNANT = Opinion("malignant", 2, subtype="ductal_carcinoma", note="spiculated, dense")


def sha256_of(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()


def stored_image(name: str, quality: Quality = QUALITY) -> StoredImage:
    return StoredImage(sha256_of(f"source of {name}"), sha256_of(f"pixels of {name}"), 460, 700, quality)


def prediction(malignant: float) -> Prediction:
    share = (1 - malignant) / 4
    return Prediction(BREAKHIS, (share,) * 4 + (malignant / 4,) * 4, 0.41, 3, 9)


def analysis(malignant: float = 0.8) -> Analysis:
    return Analysis(460, 700, QUALITY, prediction(malignant))


def heatmap(name: str = "map") -> StoredHeatmap:
    return StoredHeatmap(sha256_of(name), -1.25, 3.5)


def new_evaluation(document: str = "{}", *, split: str = "test") -> NewEvaluation:
    return NewEvaluation("hybrid", "3f9a1c22b0e4", "breakhis", split, "evaluations/1", document)


def evaluated_image(position: int, malignant: bool, probability: float, *, predicted: str = "") -> EvaluatedImage:
    """Give an image of fibroadenoma or ductal carcinoma of two patients in turns, called malignant from one half."""
    label = "ductal_carcinoma" if malignant else "fibroadenoma"
    called = probability >= 0.5
    return EvaluatedImage(
        position=position,
        name=f"image {position}.png",
        patient_id=f"patient {position % 2}",
        magnification="100X" if position % 2 else "40X",
        label=label,
        predicted=predicted or ("ductal_carcinoma" if called else "fibroadenoma"),
        malignant=malignant,
        called_malignant=called,
        malignant_probability=probability,
        probabilities=(1 - probability, probability),
    )


@dataclass(frozen=True, slots=True)
class Reader:
    """One account and one case with images, to read it."""

    account_id: int
    case_id: int


def make_reader(session: Session, name: str = "dr. a") -> int:
    return store.add_account(session, name, Role.READER).id


def make_case(session: Session, account_id: int, *, images: int = 1, magnification: str | None = "100X") -> int:
    case_id = store.add_case(session, account_id, accession=None, magnification=magnification)
    for position in range(images):
        store.add_image(session, case_id, stored_image(f"case {case_id}, image {position}"))
    return case_id


def analyse_all(
    sessions: Sessions, malignant: float = 0.8, *, model: ModelIdentity = MODEL, result: Analysis | None = None
) -> None:
    """Do every queued job, each with the same result."""
    while job := claim(sessions):
        with sessions.begin() as session:
            done = result or analysis(malignant)
            file = heatmap(f"map of {job.image_id}") if done.prediction else None
            assert store.finish_job(session, job, "w", done, model=model, heatmap=file)


def claim(sessions: Sessions, worker: str = "w") -> Job | None:
    with sessions.begin() as session:
        return store.claim_job(session, worker)


def ready_case(sessions: Sessions, *, images: int = 1, malignant: float = 0.8, name: str = "dr. a") -> Reader:
    """Make a reader and an analysed case."""
    with sessions.begin() as session:
        account_id = make_reader(session, name)
        case_id = make_case(session, account_id, images=images)
    analyse_all(sessions, malignant)
    return Reader(account_id, case_id)


def revealed_case(sessions: Sessions, *, images: int = 1, malignant: float = 0.8) -> Reader:
    """Make a reader who has saved a first read of an analysed case."""
    reader = ready_case(sessions, images=images, malignant=malignant)
    with sessions.begin() as session:
        store.record_first_read(session, reader.case_id, reader.account_id, BENIGN, OPENED)
    return reader


def at_once(threads: int, work: Callable[[int], object]) -> list[object]:
    """Start the same work in many threads at the same moment and give what each returned or raised."""
    barrier = Barrier(threads)

    def run(number: int) -> object:
        barrier.wait()
        try:
            return work(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


def reading_rows(reader: Reader) -> Sequence[Base]:
    """Make a row of each table of studies, regions and adjudication, for a reader with a read of one image."""
    case, account = reader.case_id, reader.account_id
    return (
        Study(id=1, name="s", seed=1, washout_days=0, counterbalanced=False, created_by_id=account, created_at=OPENED),
        StudyPlace(study_id=1, account_id=account, case_id=case, round=1, arm=Arm.UNAIDED, iteration=1, position=1),
        Assignment(case_id=case, account_id=account, active=True, by_id=account, at=OPENED),
        Priority(case_id=case, urgent=True, by_id=account, at=OPENED),
        Region(read_id=1, image_id=1, kind=RegionKind.POINT, points=[[1.0, 2.0]], note=""),
        Consensus(
            id=1,
            case_id=case,
            account_id=account,
            blind_read_id=1,
            label="benign",
            confidence=4,
            severity=Severity.MINOR,
            note="",
            opened_at=OPENED,
            saved_at=OPENED,
        ),
        ConsensusRead(consensus_id=1, read_id=1),
        SignOff(case_id=case, version=1, account_id=account, label="benign", note="", why="", saved_at=OPENED),
    )
