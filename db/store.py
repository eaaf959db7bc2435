"""Everything that pages, routes and the worker save and ask for: values in, values out.

Every function takes the session first and never commits: one `with sessions.begin()` per click, closed
before anything is drawn.
"""

from db.accounts import account_named, add_account, single_reader
from db.adjudicated_labels import adjudicated_labels
from db.adjudication import cases_to_adjudicate, open_adjudication, record_consensus
from db.agreement import finished_readings
from db.audit import audit_trail, record_event
from db.audit_view import all_events, event_choices, event_page
from db.case_claims import claim_case, claim_holders, release_claim
from db.case_export import exported_case, may_export_case, record_case_export
from db.case_view import case_images, case_view, open_case, record_opened
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
from db.export import exportable_studies, exported_reads, record_export
from db.files import DamagedFileError
from db.identities import account_with_identity, identity_rows, link_identity, unlink_identity
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
from db.planning import assign, assignable_readers, cases_to_plan, set_priority
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
from db.sign_offs import amend_sign_off, sign_off, sign_offs_of
from db.studies import close_study, make_study, studies
from db.study_planning import cases_for_study, cases_named, preview_study, study_readers
from db.study_reading import open_place, own_studies, reads_in_studies, record_study_read
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
    "account_with_identity",
    "account_with_password",
    "add_account",
    "add_case",
    "add_evaluation",
    "add_image",
    "add_shift",
    "add_signing_account",
    "add_token",
    "adjudicated_labels",
    "all_events",
    "amend_read",
    "amend_sign_off",
    "assign",
    "assignable_readers",
    "audit_trail",
    "beat",
    "case_images",
    "case_view",
    "cases_for_study",
    "cases_named",
    "cases_to_adjudicate",
    "cases_to_plan",
    "claim_case",
    "claim_holders",
    "claim_job",
    "close_study",
    "count_evaluated_images",
    "deployments",
    "end_sign_in",
    "evaluated_images",
    "evaluation",
    "evaluations",
    "event_choices",
    "event_page",
    "exportable_studies",
    "exported_case",
    "exported_reads",
    "fail_job",
    "finish_job",
    "finish_run",
    "finished_readings",
    "has_accounts",
    "heatmap_file",
    "identity_rows",
    "image_file",
    "in_service",
    "jobs_waiting",
    "known_image",
    "link_identity",
    "make_study",
    "may_export_case",
    "need",
    "needs_touch",
    "next_case",
    "open_adjudication",
    "open_case",
    "open_place",
    "own_reads",
    "own_studies",
    "preview_study",
    "put_in_service",
    "reads_in_studies",
    "record_case_export",
    "record_consensus",
    "record_event",
    "record_export",
    "record_final_read",
    "record_first_read",
    "record_opened",
    "record_study_read",
    "release_claim",
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
    "set_priority",
    "set_role",
    "shifts",
    "sign_off",
    "sign_offs_of",
    "signed_in",
    "single_reader",
    "start_run",
    "start_sign_in",
    "state_counts",
    "studies",
    "study_readers",
    "token_account",
    "token_rows",
    "touch_sign_in",
    "unlink_identity",
    "withdraw_read",
    "worklist",
]
