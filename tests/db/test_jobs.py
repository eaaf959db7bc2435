"""Every image is analysed once, by whoever holds the claim, and none can block the others."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from core.results import Analysis, Quality, QualityFinding
from db import store, tables
from db.database import Sessions
from db.values.jobs import Job, JobState
from db.values.reading import CaseView, ImageRow
from tests.helpers.concurrency import at_once
from tests.helpers.rows import MODEL, NEWER_MODEL, analysis, heatmap, sha256_of
from tests.helpers.world import analyse_all, claim_job, make_case, make_reader, ready_case


def queue(sessions: Sessions, images: int) -> tuple[int, int]:
    """Make a reader and a case whose images wait, and give their ids."""
    with sessions.begin() as session:
        account_id = make_reader(session)
        return account_id, make_case(session, account_id, images=images)


def view(sessions: Sessions, account_id: int, case_id: int) -> CaseView:
    with sessions.begin() as session:
        return store.open_case.open_case(session, case_id, account_id)


def only_image(sessions: Sessions, account_id: int, case_id: int) -> ImageRow:
    return view(sessions, account_id, case_id).images[0]


def predictions(sessions: Sessions) -> int:
    with sessions.read() as session:
        return session.scalar(select(func.count()).select_from(tables.Prediction)) or 0


def must_claim(sessions: Sessions, worker: str = "w") -> Job:
    job = claim_job(sessions, worker)
    assert job is not None
    return job


def finish(sessions: Sessions, job: Job, worker: str = "w", result: Analysis | None = None) -> bool:
    result = result or analysis()
    with sessions.begin() as session:
        return store.jobs.finish_job(
            session, job, worker, result, model=MODEL, heatmap=heatmap() if result.prediction else None
        )


def release(sessions: Sessions, worker: str = "w") -> int:
    with sessions.begin() as session:
        return store.jobs.release_jobs(session, worker)


def test_an_empty_queue_gives_no_job(sessions: Sessions) -> None:
    assert claim_job(sessions) is None


def test_jobs_are_claimed_in_the_order_they_came_with_the_file_to_analyse(sessions: Sessions) -> None:
    _, case_id = queue(sessions, 3)
    jobs = [must_claim(sessions) for _ in range(3)]
    assert [job.file_sha256 for job in jobs] == [sha256_of(f"pixels of case {case_id}, image {n}") for n in range(3)]
    assert [job.attempt for job in jobs] == [1, 1, 1]
    assert claim_job(sessions) is None


def test_eight_workers_share_forty_jobs_and_claim_none_twice(sessions: Sessions) -> None:
    queue(sessions, 40)

    def work(number: int) -> list[int]:
        mine = []
        while job := claim_job(sessions, f"w{number}"):
            mine.append(job.id)
            assert finish(sessions, job, f"w{number}")
        return mine

    shares = at_once(8, work)
    claimed = [job_id for share in shares if isinstance(share, list) for job_id in share]
    assert len(claimed) == len(set(claimed)) == 40
    assert predictions(sessions) == 40


def test_a_finished_job_leaves_its_prediction_and_an_image_that_is_done(sessions: Sessions) -> None:
    account_id, case_id = queue(sessions, 1)
    assert finish(sessions, must_claim(sessions))
    assert only_image(sessions, account_id, case_id).job is JobState.DONE
    assert predictions(sessions) == 1


def test_an_analysis_without_a_prediction_is_done_and_says_why(sessions: Sessions) -> None:
    account_id, case_id = queue(sessions, 1)
    blank = Quality(0.0, 0.0, (QualityFinding("unreadable", "the image is blank"),))
    nothing = Analysis(460, 700, blank, reason="the image is blank")
    assert finish(sessions, must_claim(sessions), result=nothing)
    image = only_image(sessions, account_id, case_id)
    assert (image.job, image.job_message) == (JobState.DONE, "the image is blank")
    assert predictions(sessions) == 0


def test_a_failed_job_says_why_and_is_not_claimed_again(sessions: Sessions) -> None:
    account_id, case_id = queue(sessions, 1)
    job = must_claim(sessions)
    with sessions.begin() as session:
        assert store.jobs.fail_job(session, job, "w", "the stored file is damaged")
    image = only_image(sessions, account_id, case_id)
    assert (image.job, image.job_message) == (JobState.FAILED, "the stored file is damaged")
    assert claim_job(sessions) is None


def test_a_lost_claim_writes_nothing(sessions: Sessions) -> None:
    account_id, case_id = queue(sessions, 1)
    lost = must_claim(sessions, "slow")
    assert release(sessions, "slow") == 1
    won = must_claim(sessions, "quick")
    assert not finish(sessions, lost, "slow")
    with sessions.begin() as session:
        assert not store.jobs.fail_job(session, lost, "slow", "too late")
        assert not store.jobs.record_heartbeat(session, lost.id, "slow")
    assert predictions(sessions) == 0
    image = only_image(sessions, account_id, case_id)
    assert (image.job, image.job_message) == (JobState.RUNNING, None)
    assert finish(sessions, won, "quick")
    assert predictions(sessions) == 1


def test_a_claim_lost_and_won_again_by_the_same_worker_is_another_claim(sessions: Sessions) -> None:
    queue(sessions, 1)
    lost = must_claim(sessions)
    release(sessions)
    won = must_claim(sessions)
    assert not finish(sessions, lost)
    assert finish(sessions, won)
    assert not finish(sessions, won)


def test_only_workers_that_hold_a_job_are_named(sessions: Sessions) -> None:
    queue(sessions, 3)
    for worker in ("one", "one", "two"):
        must_claim(sessions, worker)
    with sessions.begin() as session:
        assert sorted(store.jobs.running_workers(session)) == ["one", "two"]
        store.jobs.release_jobs(session, "one")
        assert store.jobs.running_workers(session) == ["two"]


def test_only_a_job_that_was_not_heard_of_since_is_released_whatever_the_time_of_its_heartbeat(
    sessions: Sessions,
) -> None:
    queue(sessions, 2)
    silent, alive = must_claim(sessions, "silent"), must_claim(sessions, "alive")
    with sessions.begin() as session:
        # As if the clock had been set back by an hour since.
        later = datetime.now(UTC) + timedelta(hours=1)
        session.execute(update(tables.Job).values(heartbeat_at=later))
        beats = store.jobs.running_heartbeats(session)
        assert store.jobs.record_heartbeat(session, alive.id, "alive")
        assert store.jobs.release_silent_jobs(session, beats) == 1
        assert store.jobs.release_silent_jobs(session, beats) == 0
        assert not store.jobs.record_heartbeat(session, silent.id, "silent")
    assert must_claim(sessions).id == silent.id
    assert claim_job(sessions) is None


def test_an_image_that_kills_the_worker_comes_after_all_others(sessions: Sessions) -> None:
    queue(sessions, 3)
    killer = must_claim(sessions)
    release(sessions)
    order = [must_claim(sessions) for _ in range(3)]
    assert [job.id for job in order].index(killer.id) == 2
    assert order[2].attempt == 2


def test_an_analysis_interrupted_24_times_is_tried_again_and_after_25_it_fails(sessions: Sessions) -> None:
    account_id, case_id = queue(sessions, 1)
    for _ in range(24):
        must_claim(sessions)
        assert release(sessions) == 1
    assert only_image(sessions, account_id, case_id).job is JobState.QUEUED
    assert must_claim(sessions).attempt == 25
    assert release(sessions) == 1
    image = only_image(sessions, account_id, case_id)
    assert (image.job, image.job_message) == (JobState.FAILED, "analysis was interrupted 25 times")
    assert claim_job(sessions) is None


def test_an_image_analysed_again_by_the_same_model_keeps_its_first_prediction(sessions: Sessions) -> None:
    reader = ready_case(sessions, malignant=0.8)
    with sessions.begin() as session:
        session.execute(update(tables.Job).values(state=JobState.QUEUED))
    analyse_all(sessions, 0.1)
    with sessions.begin() as session:
        assert session.scalars(select(tables.Prediction.malignant_probability)).one() == pytest.approx(0.8)
        session.execute(update(tables.Job).values(state=JobState.QUEUED))
    analyse_all(sessions, 0.1, model=NEWER_MODEL)
    assert predictions(sessions) == 2
    assert only_image(sessions, reader.account_id, reader.case_id).job is JobState.DONE


def test_the_time_left_grows_with_the_place_in_the_queue(sessions: Sessions) -> None:
    account_id, case_id = queue(sessions, 4)
    assert [image.seconds_left for image in view(sessions, account_id, case_id).images] == [None] * 4
    assert finish(sessions, must_claim(sessions))
    start = datetime.now(UTC)
    with sessions.begin() as session:
        done = update(tables.Job).where(tables.Job.state == JobState.DONE)
        session.execute(done.values(claimed_at=start, finished_at=start + timedelta(seconds=4)))
        assert store.jobs.seconds_per_job(session) == 4
    assert [image.seconds_left for image in view(sessions, account_id, case_id).images] == [None, 4, 8, 12]
