"""Requests of programs that are carried out only once: the same key gives the same answer."""

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db import tables
from db.errors import KeyReusedError
from db.values.programs import BegunRequest, KeyedAnswer, KeyedRequest


def begin_request(session: Session, request: KeyedRequest) -> BegunRequest:
    """Record that a request is being carried out, or return what became of it.

    One that was begun before and has no answer was interrupted, and is to be carried out to its end.

    Raises:
        KeyReusedError: If the key was sent with another request.
    """
    row = _find(session, request)
    if row is None:
        made = tables.KeyedRequest(
            token_id=request.token_id,
            key=request.key,
            request_sha256=request.request_sha256,
            at=datetime.now(UTC),
        )
        try:
            with session.begin_nested():
                session.add(made)
        except IntegrityError:
            # On PostgreSQL another server may have begun the same request after we looked.
            row = _find(session, request)
            if row is None:
                raise
        else:
            return BegunRequest(made.at, again=False)
    if row.request_sha256 != request.request_sha256:
        raise KeyReusedError
    answer = None if row.status is None or row.answer is None else KeyedAnswer(row.status, row.answer)
    return BegunRequest(row.at, again=True, answer=answer)


def record_answer(session: Session, request: KeyedRequest, answer: KeyedAnswer) -> None:
    """Record the answer to a request that was begun."""
    row = _find(session, request)
    if row is None:
        raise LookupError(f"no request was begun with the key {request.key}")
    row.status, row.answer = answer.status, answer.text
    session.flush()


def _find(session: Session, request: KeyedRequest) -> tables.KeyedRequest | None:
    row = tables.KeyedRequest
    query = select(row).where(row.token_id == request.token_id, row.key == request.key)
    return session.scalar(query.with_for_update())
