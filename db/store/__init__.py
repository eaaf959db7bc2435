"""Everything that pages, routes and the worker save and ask for: values in, values out, one module per subject.

Every function takes the session first and never commits: one `with sessions.begin()` per click, closed
before anything is drawn. Callers write `store.reads.record_first_read(session, ...)`.
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
    jobs,
    models,
    open_case,
    planning,
    reads,
    sign_ins,
    sign_offs,
    studies,
    study_reading,
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
    "jobs",
    "models",
    "open_case",
    "planning",
    "reads",
    "sign_ins",
    "sign_offs",
    "studies",
    "study_reading",
    "worklist",
]
