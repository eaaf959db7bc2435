"""Values and rows that tests of the store write themselves: opinions, images, analyses, claims, studies."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from sqlalchemy.orm import Session

from core.labels import BREAKHIS
from core.results import OUT_OF_SCOPE, Analysis, Prediction, Quality, QualityFinding, Scope
from db import store, tables
from db.values.adjudication import Ruling, Severity
from db.values.evaluations import EvaluatedImage, NewEvaluation, ThresholdAim
from db.values.jobs import StoredHeatmap
from db.values.reading import Arm, ModelIdentity, Opinion, RegionKind, Stage, StoredImage

OPENED = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
QUALITY = Quality(41.5, 0.62, (QualityFinding("warning", "blurred (41, limit 75)"),))
MODEL = ModelIdentity("3f9a1c22b0e4", "starter", demonstration=True)
NEWER_MODEL = ModelIdentity("77aa00bb11cc", "hybrid", demonstration=False)
BENIGN = Opinion("benign", 4)
MALIGNANT = Opinion("malignant", 2, subtype="ductal_carcinoma", note="spiculated, dense")
# What readers say who differ; the model of these tests says malignant, 0.8.
SAYS_MALIGNANT = Opinion("malignant", 4, subtype="ductal_carcinoma")
SAYS_BENIGN = Opinion("benign", 4, reason="missed_feature", note="no atypia at all")
CANNOT_ASSESS = Opinion(None, None)
RULING = Ruling("malignant", 5, Severity.MAJOR, subtype="ductal_carcinoma", note="invasive at the left edge")
STRANGE_COLOURS = "its colours are not those of H&E"
STRANGE_SCALE = "its nuclei are larger than those of the training images"
USUAL = Scope("in", 0.5, 1.0, 2.0)
UNUSUAL = Scope("unusual", 1.5, 1.0, 2.0, (STRANGE_SCALE,))
OUT = Scope("out", 3.0, 1.0, 2.0, (STRANGE_COLOURS,))
CROSSOVER = (Arm.UNAIDED, Arm.MODEL_FIRST)


def sha256_of(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()


def stored_image(name: str, quality: Quality = QUALITY) -> StoredImage:
    return StoredImage(sha256_of(f"source of {name}"), sha256_of(f"pixels of {name}"), 460, 700, quality)


def prediction(malignant: float) -> Prediction:
    share = (1 - malignant) / 4
    return Prediction(BREAKHIS, (share,) * 4 + (malignant / 4,) * 4, 0.41, 3, 9)


def analysis(malignant: float = 0.8) -> Analysis:
    return Analysis(460, 700, QUALITY, prediction(malignant), embedding=np.array([0.6, 0.8], np.float16))


def unusual(malignant: float = 0.8) -> Analysis:
    """Return an opinion of an image that is somewhat unlike the training images."""
    return with_scope(analysis(malignant), UNUSUAL)


def usual(malignant: float = 0.8) -> Analysis:
    """Return an opinion of an image like the training images."""
    return with_scope(analysis(malignant), USUAL)


def out_of_scope() -> Analysis:
    """Return that there is no opinion of an image that is unlike the training images."""
    return with_scope(analysis(), OUT)


def with_scope(result: Analysis, scope: Scope) -> Analysis:
    """Return an analysis of an image of this scope; out of scope, it has no opinion."""
    if scope.level != "out":
        return replace(result, scope=scope)
    reason = f"{OUT_OF_SCOPE}: {'; '.join(scope.reasons)}"
    return Analysis(result.height, result.width, result.quality, reason=reason, scope=scope)


def heatmap(name: str = "map") -> StoredHeatmap:
    return StoredHeatmap(sha256_of(name), -1.25, 3.5)


def scope_map(result: Analysis, image_id: int) -> str | None:
    """Return the file of the map that a worker stores with this result of an image."""
    is_told = result.scope is not None and result.scope.level != "in"
    return sha256_of(f"scope map of {image_id}") if is_told else None


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


def claim_row(account_id: int, case_id: int, *, minutes_ago: float = 0) -> tables.Claim:
    """Return a claim that was made or renewed so long ago and lasts for half an hour."""
    at = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return tables.Claim(account_id=account_id, case_id=case_id, claimed_at=at, expires_at=at + timedelta(minutes=30))


def consensus_row(session: Session, case_id: int, account_id: int, opinion: Opinion) -> tables.Consensus:
    """Return a consensus of an adjudicator who has a blind read of the case."""
    (blind,) = (
        read for read in store.reads.own_reads(session, account_id, case_id=case_id) if read.stage is Stage.FIRST
    )
    return tables.Consensus(
        case_id=case_id,
        account_id=account_id,
        blind_read_id=blind.id,
        label=opinion.label,
        confidence=opinion.confidence,
        severity=Severity.MINOR,
        note="",
        opened_at=OPENED,
        saved_at=datetime.now(UTC),
    )


def sign_off_row(case_id: int, account_id: int, version: int = 1) -> tables.SignOff:
    """Return a signed version of a case."""
    why = "" if version == 1 else "looked again"
    return tables.SignOff(
        case_id=case_id, version=version, account_id=account_id, label="benign", note="", why=why, saved_at=OPENED
    )


def study_rows(
    case_id: int, account_id: int, owner_id: int, *, closed: bool = False
) -> tuple[tables.Study, tables.StudyPlace]:
    """Return a study in which a reader has to read a case."""
    ended = datetime.now(UTC) if closed else None
    return (
        tables.Study(
            id=1,
            name="s",
            seed=1,
            washout_days=0,
            counterbalanced=False,
            created_by_id=owner_id,
            created_at=OPENED,
            closed_at=ended,
        ),
        tables.StudyPlace(
            study_id=1, account_id=account_id, case_id=case_id, round=1, arm=Arm.BLIND_FIRST, iteration=1, position=1
        ),
    )


def scope_row(image_id: int) -> tables.ImageScope:
    """Return that an image, the first to be analysed, is unusual."""
    return tables.ImageScope(
        id=1, job_id=image_id, image_id=image_id, model_version="v", model_name="m", demonstration=False,
        level="unusual", score=1.5, limit_unusual=1.0, limit_out=2.0, reasons=[STRANGE_SCALE], created_at=OPENED,
    )  # fmt: skip


def reading_rows(case: int, account: int) -> Sequence[tables.Base]:
    """Make a row of each table of studies, regions, adjudication and intakes, for a reader with a read of one image."""
    return (
        tables.Study(
            id=1, name="s", seed=1, washout_days=0, counterbalanced=False, created_by_id=account, created_at=OPENED
        ),
        tables.StudyPlace(
            study_id=1, account_id=account, case_id=case, round=1, arm=Arm.UNAIDED, iteration=1, position=1
        ),
        tables.Assignment(case_id=case, account_id=account, active=True, by_id=account, at=OPENED),
        tables.Priority(case_id=case, urgent=True, by_id=account, at=OPENED),
        tables.Region(read_id=1, image_id=1, kind=RegionKind.POINT, points=[[1.0, 2.0]], note=""),
        tables.Consensus(
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
        tables.ConsensusRead(consensus_id=1, read_id=1),
        tables.SignOff(case_id=case, version=1, account_id=account, label="benign", note="", why="", saved_at=OPENED),
        tables.Intake(id=1, case_id=case, account_id=account, images=2, begun_at=OPENED),
        tables.IntakeEnd(intake_id=1, account_id=account, at=OPENED),
        tables.ImageOrder(case_id=case, account_id=account, images=[1], at=OPENED),
        tables.MicroscopeProfile(name="BX", objective="10x", um_per_px=0.5, account_id=account, created_at=OPENED),
        tables.ImageScale(image_id=1, um_per_px=0.5, source="typed", account_id=account, created_at=OPENED),
        tables.ModelConfirmation(account_id=account, model_version="v", at=OPENED),
        tables.SiteThreshold(at=OPENED, account_id=account, model_version="v", aim=ThresholdAim.BALANCE, value=0.4),
        tables.PredictionPermit(case_id=case, account_id=account, why="a demonstration", at=OPENED),
        scope_row(1),
        tables.ReadScope(read_id=1, scope_id=1),
    )
