"""What pages, routes and the worker save and query, one module per subject; arguments and results are plain values.

Every function takes the session first and never commits: use one `with sessions.begin()` per click, closed
before anything is drawn. Call functions as `store.reads.record_first_read(session, ...)`.
"""

from db.store import (
    accounts,
    adjudication,
    agreement,
    audit,
    cases,
    claims,
    evaluations,
    exports,
    identities,
    intakes,
    jobs,
    models,
    open_case,
    planning,
    reads,
    scales,
    sign_ins,
    sign_offs,
    similar_cases,
    site_calibrations,
    studies,
    study_reading,
    uploads,
    worklist,
)

__all__ = [
    "accounts",
    "adjudication",
    "agreement",
    "audit",
    "cases",
    "claims",
    "evaluations",
    "exports",
    "identities",
    "intakes",
    "jobs",
    "models",
    "open_case",
    "planning",
    "reads",
    "scales",
    "sign_ins",
    "sign_offs",
    "similar_cases",
    "site_calibrations",
    "studies",
    "study_reading",
    "uploads",
    "worklist",
]
