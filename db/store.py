"""Everything that pages, routes and the worker save and ask for: values in, values out.

Every function takes the session first and never commits: one `with sessions.begin()` per click, closed
before anything is drawn.
"""

from db.accounts import account_named, add_account, single_reader
from db.agreement import finished_readings
from db.audit import audit_trail, record_event
from db.case_view import case_images, open_case
from db.cases import add_case, add_image, known_image, remembered_magnification
from db.credentials import (
    account_rows,
    account_with_password,
    add_signing_account,
    set_disabled,
    set_password,
    set_role,
)
from db.deployments import deployments, in_service, put_in_service
from db.errors import CaseChangedError, NotAllowedError, NotRevealedError, UnknownCaseError, UnusableDatabaseError
from db.evaluations import (
    add_evaluation,
    add_shift,
    count_evaluated_images,
    evaluated_images,
    evaluation,
    evaluations,
    shifts,
)
from db.files import DamagedFileError
from db.jobs import (
    beat,
    claim_job,
    fail_job,
    finish_job,
    jobs_waiting,
    release_jobs,
    release_stale_jobs,
    running_workers,
    seconds_per_job,
)
from db.permissions import has_accounts, need
from db.reads import GRACE, amend_read, own_reads, record_final_read, record_first_read, withdraw_read
from db.reveal import heatmap_file, image_file
from db.runs import finish_run, run, runs, start_run
from db.sign_ins import (
    add_token,
    end_sign_in,
    needs_touch,
    revoke_token,
    signed_in,
    start_sign_in,
    token_account,
    token_rows,
    touch_sign_in,
)
from db.worklist import next_case, state_counts, worklist

__all__ = [
    "GRACE",
    "CaseChangedError",
    "DamagedFileError",
    "NotAllowedError",
    "NotRevealedError",
    "UnknownCaseError",
    "UnusableDatabaseError",
    "account_named",
    "account_rows",
    "account_with_password",
    "add_account",
    "add_case",
    "add_evaluation",
    "add_image",
    "add_shift",
    "add_signing_account",
    "add_token",
    "amend_read",
    "audit_trail",
    "beat",
    "case_images",
    "claim_job",
    "count_evaluated_images",
    "deployments",
    "end_sign_in",
    "evaluated_images",
    "evaluation",
    "evaluations",
    "fail_job",
    "finish_job",
    "finish_run",
    "finished_readings",
    "has_accounts",
    "heatmap_file",
    "image_file",
    "in_service",
    "jobs_waiting",
    "known_image",
    "need",
    "needs_touch",
    "next_case",
    "open_case",
    "own_reads",
    "put_in_service",
    "record_event",
    "record_final_read",
    "record_first_read",
    "release_jobs",
    "release_stale_jobs",
    "remembered_magnification",
    "revoke_token",
    "run",
    "running_workers",
    "runs",
    "seconds_per_job",
    "set_disabled",
    "set_password",
    "set_role",
    "shifts",
    "signed_in",
    "single_reader",
    "start_run",
    "start_sign_in",
    "state_counts",
    "token_account",
    "token_rows",
    "touch_sign_in",
    "withdraw_read",
    "worklist",
]
