"""The queue of images to analyse: each job is claimed by one worker, and queued again if the worker dies."""

from collections.abc import Collection
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, CursorResult, case, func, select, tuple_, update
from sqlalchemy.orm import Session

from core.results import Analysis, Scope
from db import tables
from db.audit.seals import seal, seal_of_unfinished
from db.audit.trail import record_event
from db.projection.touched import touch_image
from db.queries.scales import scale_row
from db.values.audit import TrailAction
from db.values.jobs import PENDING, Heartbeat, Job, JobState, StoredHeatmap
from db.values.reading import ModelIdentity

MOST_ATTEMPTS = 25
_RECENT_JOBS = 20  # number of finished jobs used to estimate the remaining time


def claim_job(session: Session, worker: str) -> Job | None:
    """Claim the next job, fewest attempts first, so that an image that kills the worker does not block others."""
    query = (
        select(tables.Job)
        .where(tables.Job.state == JobState.QUEUED)
        .order_by(tables.Job.attempts, tables.Job.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    row = session.scalar(query)
    if row is None:
        return None
    now = datetime.now(UTC)
    row.state, row.worker, row.attempts = JobState.RUNNING, worker, row.attempts + 1
    row.claimed_at = row.heartbeat_at = now
    session.flush()
    image = (
        select(tables.Image.file_sha256, tables.Case.magnification, tables.Case.demonstration)
        .join(tables.Case, tables.Case.id == tables.Image.case_id)
        .where(tables.Image.id == row.image_id)
    )
    file, magnification, demonstration = session.execute(image).one()
    scale = scale_row(session, row.image_id)
    um_per_px, scale_id = (scale.um_per_px, scale.id) if scale else (None, None)
    return Job(row.id, row.image_id, file, row.attempts, magnification, um_per_px, scale_id, demonstration)


def record_heartbeat(session: Session, job_id: int, worker: str) -> bool:
    """Record that the worker is alive; return False if it has lost the job."""
    mine = (tables.Job.id == job_id) & (tables.Job.worker == worker) & (tables.Job.state == JobState.RUNNING)
    return _change(session, mine, heartbeat_at=datetime.now(UTC)) == 1


def release_jobs(session: Session, worker: str) -> int:
    """Queue the jobs of this worker again, after it stopped or died; return their number."""
    return _release(session, tables.Job.worker == worker)


def running_workers(session: Session) -> list[str]:
    """Return the names of the workers that hold a job, alive or not."""
    workers = select(tables.Job.worker).where(tables.Job.state == JobState.RUNNING, tables.Job.worker.is_not(None))
    return [name for name in session.scalars(workers.distinct()) if name]


def running_heartbeats(session: Session) -> list[Heartbeat]:
    """Return the last heartbeat of every running job."""
    job = tables.Job
    query = select(job.id, job.attempts, job.heartbeat_at).where(job.state == JobState.RUNNING)
    return [Heartbeat(number, attempt, at) for number, attempt, at in session.execute(query) if at]


def release_silent_jobs(session: Session, silent: Collection[Heartbeat]) -> int:
    """Queue the jobs again that have had no other heartbeat since; return their number.

    The caller measures how long that is, because the clock by which heartbeats are written can be set back.
    """
    job = tables.Job
    return sum(
        _release(session, (job.id == one.job_id) & (job.attempts == one.attempt) & (job.heartbeat_at == one.at))
        for one in silent
    )


def finish_job(
    session: Session,
    job: Job,
    worker: str,
    analysis: Analysis,
    *,
    model: ModelIdentity,
    heatmap: StoredHeatmap | None,
    scope_map_sha256: str | None = None,
) -> bool:
    """Save an analysis and close its job; return False, writing nothing, if the worker has lost the job.

    For an analysis without a prediction, the job stores the reason. Where the scope was measured, it is stored with
    the file of its map, and sealed with the job.
    """
    if not _claim_end(session, job, worker, JobState.DONE, analysis.reason):
        return False
    if analysis.scope is not None and not _has_result(session, tables.ImageScope, job, model.version):
        session.add(_scope_row(job, analysis.scope, model, scope_map_sha256))
    _record_end(session, job.id)
    if analysis.withheld:
        # As after a prediction: the trail must not tell before the first read that there is none.
        record_event(session, None, TrailAction.ANALYSED, f"image {job.image_id}")
    if analysis.prediction is not None and not _has_result(session, tables.Prediction, job, model.version):
        row = _prediction_row(job, analysis, model, heatmap)
        session.add(row)
        session.flush()
        linked = _embedding_rows(row.id, analysis, model)
        session.add_all(linked)
        # The prediction is sealed because readers are shown it; the event itself does not reveal it.
        content = seal(session, row, linked)
        record_event(session, None, TrailAction.ANALYSED, f"image {job.image_id}", content=content)
    return True


def fail_job(session: Session, job: Job, worker: str, message: str) -> bool:
    """Close a job that failed; return False, writing nothing, if the worker has lost the job."""
    if not _claim_end(session, job, worker, JobState.FAILED, message):
        return False
    _record_end(session, job.id)
    return True


def queue_again(session: Session, account_id: int, image_id: int) -> None:
    """Queue the analysis of an image again, whatever became of it; a worker that is at it loses the job."""
    row = session.scalar(select(tables.Job).where(tables.Job.image_id == image_id).with_for_update())
    if row is None or row.state is JobState.QUEUED:
        return
    had_ended = row.state is not JobState.RUNNING
    row.state, row.queued_at = JobState.QUEUED, datetime.now(UTC)
    row.worker = row.message = row.claimed_at = row.heartbeat_at = row.finished_at = None
    session.flush()
    if had_ended:
        content = seal_of_unfinished(f"jobs {row.id}")
        record_event(session, account_id, TrailAction.QUEUED_AGAIN, f"image {image_id}", content=content)


def seconds_per_job(session: Session) -> float | None:
    """Return the average duration of the last finished jobs in seconds; None before the first."""
    recent = (
        select(tables.Job.claimed_at, tables.Job.finished_at)
        .where(tables.Job.state == JobState.DONE)
        .order_by(tables.Job.finished_at.desc())
        .limit(_RECENT_JOBS)
    )
    # Without those during which the clock was set back.
    spans = [(end - start).total_seconds() for start, end in session.execute(recent) if start and end and end >= start]
    return sum(spans) / len(spans) if spans else None


def is_pending(job: tables.Job) -> bool:
    """Return whether a job is queued or running."""
    return job.state in PENDING


def place_in_queue(session: Session, job: tables.Job) -> int:
    """Return the place of a pending job in the order in which jobs are claimed; 1 is the first."""
    row = tables.Job
    before = tuple_(row.attempts, row.id) <= (job.attempts, job.id)
    return session.scalar(select(func.count()).select_from(row).where(row.state.in_(PENDING), before)) or 0


def jobs_waiting(session: Session) -> int:
    """Count the jobs that are queued or running."""
    waiting = tables.Job.state.in_(PENDING)
    return session.scalar(select(func.count()).select_from(tables.Job).where(waiting)) or 0


def _claim_end(session: Session, job: Job, worker: str, state: JobState, message: str | None) -> bool:
    """Close a job; return False if the worker has lost it. Everything that belongs to it is written afterwards."""
    # The attempt is part of the claim: a worker that lost a job and claimed it again must not close it twice.
    claim = (
        (tables.Job.id == job.id)
        & (tables.Job.worker == worker)
        & (tables.Job.state == JobState.RUNNING)
        & (tables.Job.attempts == job.attempt)
    )
    return _change(session, claim, state=state, message=message, finished_at=datetime.now(UTC)) == 1


def _record_end(session: Session, job_id: int) -> None:
    """Record that an analysis has ended, with the seal of its row: that says whether readers get a result."""
    row = session.get_one(tables.Job, job_id)
    touch_image(session, row.image_id)
    content = seal(session, row)
    record_event(session, None, TrailAction.ANALYSIS_ENDED, f"image {row.image_id}", content=content)


def _release(session: Session, whose: ColumnElement[bool]) -> int:
    is_exhausted = tables.Job.attempts >= MOST_ATTEMPTS
    running = whose & (tables.Job.state == JobState.RUNNING)
    exhausted = session.scalars(select(tables.Job.id).where(running, is_exhausted).with_for_update()).all()
    released = _change(
        session,
        running,
        state=case((is_exhausted, JobState.FAILED.value), else_=JobState.QUEUED.value),
        message=case((is_exhausted, f"analysis was interrupted {MOST_ATTEMPTS} times"), else_=None),
        worker=None,
    )
    for job_id in exhausted:
        _record_end(session, job_id)
    return released


def _change(session: Session, which: ColumnElement[bool], **values: object) -> int:
    # Rows already in this session are refreshed by their next query.
    result = session.execute(
        update(tables.Job).where(which).values(**values).execution_options(synchronize_session=False)
    )
    session.expire_all()
    return result.rowcount if isinstance(result, CursorResult) else 0


def _has_result(
    session: Session, row: type[tables.Prediction] | type[tables.ImageScope], job: Job, version: str
) -> bool:
    """Return whether this model has already answered for the image at the scale of this job."""
    # SQLAlchemy writes a comparison with None as IS NULL.
    same = (row.image_id == job.image_id, row.model_version == version, row.scale_id == job.scale_id)
    return session.scalar(select(row.id).where(*same)) is not None


def _scope_row(job: Job, scope: Scope, model: ModelIdentity, map_sha256: str | None) -> tables.ImageScope:
    return tables.ImageScope(
        job_id=job.id,
        image_id=job.image_id,
        model_version=model.version,
        model_name=model.name,
        demonstration=model.demonstration,
        level=scope.level,
        score=scope.score,
        limit_unusual=scope.limit_unusual,
        limit_out=scope.limit_out,
        reasons=list(scope.reasons),
        map_sha256=map_sha256,
        created_at=datetime.now(UTC),
        scale_id=job.scale_id,
    )


def _embedding_rows(prediction_id: int, analysis: Analysis, model: ModelIdentity) -> list[tables.ImageEmbedding]:
    if analysis.embedding is None:
        return []
    values = analysis.embedding.astype("<f2").tobytes()
    return [tables.ImageEmbedding(prediction_id=prediction_id, network=model.network, embedding=values)]


def _prediction_row(
    job: Job, analysis: Analysis, model: ModelIdentity, heatmap: StoredHeatmap | None
) -> tables.Prediction:
    prediction = analysis.prediction
    if prediction is None:
        raise ValueError("an analysis without a prediction cannot be stored as one")
    return tables.Prediction(
        image_id=job.image_id,
        model_version=model.version,
        model_name=model.name,
        demonstration=model.demonstration,
        label_set=prediction.label_set.name,
        classes=list(prediction.label_set.classes),
        malignant_classes=list(prediction.label_set.malignant),
        probabilities=list(prediction.probabilities),
        malignant_probability=prediction.malignant_probability,
        threshold=prediction.threshold,
        benign_patches=prediction.benign_patches,
        malignant_patches=prediction.malignant_patches,
        heatmap_sha256=heatmap.file_sha256 if heatmap else None,
        heatmap_low=heatmap.low if heatmap else None,
        heatmap_high=heatmap.high if heatmap else None,
        created_at=datetime.now(UTC),
        scale_id=job.scale_id,
    )
