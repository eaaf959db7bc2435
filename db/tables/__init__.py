"""The tables of the database; rows are never passed out of `db`."""

from db.tables.accounts import Account, ApiToken, Credential, KeyedRequest, LinkedIdentity, PredictionPermit, SignIn
from db.tables.analyses import ImageEmbedding, ImageScope, Job, Prediction
from db.tables.audit import AuditEvent
from db.tables.base import Base, UtcDateTime
from db.tables.cases import (
    Case,
    CaseNumber,
    Image,
    ImageOrder,
    ImageScale,
    Intake,
    IntakeEnd,
    IntakeImage,
    MicroscopeProfile,
)
from db.tables.comparisons import ComparedCase, ComparedGroup
from db.tables.models import Deployment, EvaluatedImage, Evaluation, ModelConfirmation, Run, Shift, SiteThreshold
from db.tables.planning import Assignment, Claim, Priority
from db.tables.reads import Consensus, ConsensusRead, Read, ReadImage, ReadPrediction, ReadScope, Region, SignOff
from db.tables.studies import Study, StudyPlace
from db.tables.worklists import CaseSortKey, CaseTerm, WorklistCase, WorklistPile

__all__ = [
    "Account",
    "ApiToken",
    "Assignment",
    "AuditEvent",
    "Base",
    "Case",
    "CaseNumber",
    "CaseSortKey",
    "CaseTerm",
    "Claim",
    "ComparedCase",
    "ComparedGroup",
    "Consensus",
    "ConsensusRead",
    "Credential",
    "Deployment",
    "EvaluatedImage",
    "Evaluation",
    "Image",
    "ImageEmbedding",
    "ImageOrder",
    "ImageScale",
    "ImageScope",
    "Intake",
    "IntakeEnd",
    "IntakeImage",
    "Job",
    "KeyedRequest",
    "LinkedIdentity",
    "MicroscopeProfile",
    "ModelConfirmation",
    "Prediction",
    "PredictionPermit",
    "Priority",
    "Read",
    "ReadImage",
    "ReadPrediction",
    "ReadScope",
    "Region",
    "Run",
    "Shift",
    "SignIn",
    "SignOff",
    "SiteThreshold",
    "Study",
    "StudyPlace",
    "UtcDateTime",
    "WorklistCase",
    "WorklistPile",
]
