"""Words that would act somewhere are kept as they were typed, or refused in words a reader understands."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import func, select, text

from core.reading.reference_labels import UnreadableReferencesError, read_references
from db import store, tables
from db.audit.verify import verify
from db.database import Sessions
from db.values.accounts import Role
from db.values.audit import PROGRAM, EventFilter
from db.values.evaluations import ImageFilter, NewEvaluation
from db.values.reading import Opinion
from db.values.worklist import CaseFilter
from tests.helpers.rows import OPENED, evaluated_image, stored_image
from tests.helpers.stress import FULL, amount
from tests.helpers.worklists import whole_worklist
from tests.helpers.world import PASSWORD, make_case, make_reader
from tests.hostile.words import BAD_NAMES, FORMULAS, SCRIPTS

pytestmark = pytest.mark.usefixtures("quick_passwords")

_EVERY = (*BAD_NAMES, *SCRIPTS, *FORMULAS)
# By default one in nine, and those that found something.
WORDS = _EVERY[:: amount(1, 9)] + (() if FULL else ("a\0b", "\ud800", "x" * 5000, "\x1b[31mred\x1b[0m"))
_NOT_FOR_READERS = re.compile(r"sqlite3|psycopg|Traceback|codec|\[SQL")
_ROWS = (tables.Account, tables.Case, tables.Read, tables.AuditEvent)


def _rows(sessions: Sessions) -> list[int]:
    with sessions.read() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in _ROWS]


def _kept_or_refused(words: str, keep: Callable[[str], str | None]) -> bool:
    """Say whether words were kept, as they were typed but for blanks around them; else they were refused in words."""
    try:
        found = keep(words)
    except ValueError as error:
        refusal = str(error)
    else:
        assert (found or "") == words.strip()
        return True
    assert refusal
    assert not _NOT_FOR_READERS.search(refusal), refusal
    return False


def _travels(words: str) -> bool:
    """Say whether words can come over the wire: half a letter of UTF-16 cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in words)


def _kept(sessions: Sessions, keep: Callable[[str], str | None]) -> int:
    """Try all words; count those that were kept, and look that nothing but rows of ours came of it."""
    kept = sum(_kept_or_refused(words, keep) for words in WORDS)
    if sessions.dialect == "sqlite":
        with sessions.read() as session:
            assert session.scalar(text("PRAGMA integrity_check")) == "ok"
    assert verify(sessions).findings == ()
    return kept


@pytest.fixture
def reader(sessions: Sessions) -> int:
    """One account that reads."""
    with sessions.begin() as session:
        return make_reader(session)


def test_case_numbers_and_magnifications(sessions: Sessions, reader: int) -> None:
    def accession(words: str) -> str | None:
        with sessions.begin() as session:
            case_id = store.cases.add_case(session, reader, accession=words, magnification=None)
            found = session.get_one(tables.Case, case_id).accession
        return found if words.strip() else None

    def magnification(words: str) -> str | None:
        with sessions.begin() as session:
            case_id = store.cases.add_case(session, reader, accession=None, magnification=words)
        with sessions.read() as session:
            return session.get_one(tables.Case, case_id).magnification

    assert _kept(sessions, accession) > len(WORDS) // 4
    assert _kept(sessions, magnification) > len(WORDS) // 4


def test_notes(sessions: Sessions, reader: int) -> None:
    def note(words: str) -> str:
        with sessions.begin() as session:
            case_id = make_case(session, reader)
            store.reads.record_first_read(session, case_id, reader, Opinion("benign", 3, note=words.strip()), OPENED)
        with sessions.read() as session:
            return store.reads.own_reads(session, reader, case_id=case_id)[0].opinion.note

    before = _rows(sessions)
    kept = _kept(sessions, note)
    assert kept > 0.8 * len(WORDS)
    assert [now - then for now, then in zip(_rows(sessions), before, strict=True)][:3] == [0, kept, kept]


def test_names_of_accounts_and_labels_of_tokens(sessions: Sessions) -> None:
    with sessions.begin() as session:
        admin = store.accounts.add_signing_account(session, None, "the administrator", Role.ADMINISTRATOR, PASSWORD)

    def name(words: str) -> str:
        with sessions.begin() as session:
            return store.accounts.add_signing_account(session, admin.id, words, Role.READER, PASSWORD).name

    def label(words: str) -> str:
        with sessions.begin() as session:
            store.sign_ins.add_token(session, admin.id, admin, words)
        with sessions.read() as session:
            return max(store.sign_ins.token_rows(session, admin.id), key=lambda row: row.id).label

    assert _kept(sessions, name) > len(WORDS) // 4
    assert _kept(sessions, label) > len(WORDS) // 4
    with sessions.read() as session:
        assert {row.role for row in store.accounts.account_rows(session, admin.id)} == {Role.READER, Role.ADMINISTRATOR}


def test_nobody_signs_in_by_words(sessions: Sessions) -> None:
    with sessions.begin() as session:
        store.accounts.add_signing_account(session, None, "admin", Role.ADMINISTRATOR, PASSWORD)
    for words in WORDS:
        if not _travels(words):
            continue
        with sessions.read() as session:
            assert store.accounts.account_with_password(session, words, words) is None
            assert store.sign_ins.signed_in(session, words) is None
            assert store.sign_ins.find_token(session, words) is None


def test_filters(sessions: Sessions, reader: int) -> None:
    with sessions.begin() as session:
        case_id = store.cases.add_case(session, reader, accession="50%_off", magnification="100X")
        store.cases.add_image(session, case_id, stored_image("of the case"))
    for words in WORDS:
        if not _travels(words) or "\0" in words:
            continue  # PostgreSQL refuses to look for NUL, which nobody can type; nothing is shown then
        with sessions.read() as session:
            found = whole_worklist(session, reader, CaseFilter(text=words))
            # A search finds what a part of the number begins with; signs alone begin no part.
            assert len(found) == any(part.startswith(words.strip()) for part in ("50%_off", "off")), words
            if words.strip():
                assert whole_worklist(session, reader, CaseFilter(magnification=words)) == []
            for wanted in (EventFilter(subject=words), EventFilter(account=words), EventFilter(action=words)):
                # No words at all stand for the program itself, which added the reader.
                events = store.audit.audit_trail(session, filters=wanted)
                assert {event.action for event in events} == ({"account added"} if wanted.account == PROGRAM else set())


def test_names_of_evaluations(sessions: Sessions) -> None:
    """They come from files of ours, which may come from elsewhere; longer or invisible ones never reach the store."""
    for words in WORDS:
        if not words.strip().isprintable() or not 0 < len(words.strip()) <= 64:
            continue
        new = NewEvaluation(words, "3f9a1c22b0e4", words, "test", "evaluations/1", "{}")
        image = replace(evaluated_image(1, True, 0.7), name=words, patient_id=words, label=words, predicted=words)
        with sessions.begin() as session:
            number = store.evaluations.add_evaluation(session, new, [image])
        with sessions.read() as session:
            row = store.evaluations.evaluation(session, None, number)
            assert row is not None
            assert (row.model_name, row.dataset) == (words, words)
            assert store.evaluations.evaluated_images(
                session, None, number, ImageFilter(label=words, predicted=words)
            ) == [image]
            assert (
                store.evaluations.evaluated_images(
                    session, None, number, ImageFilter(label=f"{words} ", predicted=words)
                )
                == []
            )
    assert verify(sessions).findings == ()


def test_reference_labels(sessions: Sessions) -> None:
    for words in WORDS:
        quoted = words.replace('"', '""')
        data = f'case,label\n"{quoted}",benign\n'.encode(errors="surrogatepass")
        try:
            found = read_references(data)
        except UnreadableReferencesError:
            continue
        # Characters that nobody sees, such as the one that turns the direction of text, are no part of a case number.
        raw = words.encode(errors="surrogatepass")
        # What is no UTF-8 is read as Windows-1252.
        typed = raw.decode("cp1252") if any("\ud800" <= c <= "\udfff" for c in words) else words
        shown = "".join(c for c in typed if c.isspace() or unicodedata.category(c) not in ("Cf", "Cc"))
        assert found == {unicodedata.normalize("NFC", " ".join(shown.split())): "benign"}
        with pytest.raises(UnreadableReferencesError):
            read_references(f'case,label\nC-1,"{quoted}"\n'.encode(errors="surrogatepass"))
