"""Forty ways to change what is stored behind the program's back: each is found, and what it did is named."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from db import store
from db.audit.verify import verify
from db.database import Sessions, open_as_it_is, open_database
from db.errors import StoredDifferentlyError
from db.files import Files
from db.values.accounts import Lifetime, ProvenAccount, Role
from db.values.reading import Arm, Opinion, Region, RegionKind
from db.values.studies import StudyPlan
from tests.helpers.rows import BENIGN, OPENED, sha256_of
from tests.helpers.tampering import engine_of, rows_named, without_triggers
from tests.helpers.world import PASSWORD, analyse_all, make_case

ADMINISTRATOR, READER, OTHER = 1, 2, 3
ROUTINE, CLOSED, RUNNING = 1, 2, 3  # cases
OTHER_FILE = sha256_of("pixels of case 2, image 0")

Named = set[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Attack:
    """Statements that change some tables, and what must be found of which row, and nothing else."""

    tables: tuple[str, ...]
    statements: tuple[str, ...]
    expected: Named


def attack(tables: str, statements: str, *expected: str) -> Attack:
    found = {tuple(words.split(" ", 1)) for words in expected}
    return Attack(tuple(tables.split()), tuple(statements.split(";")), {(kind, row) for kind, row in found})


READER_CHANGED, OTHER_CHANGED = f"changed accounts {READER}", f"changed accounts {OTHER}"
_SIGN_IN = "INSERT INTO sign_ins (account_id, token_sha256, created_at, idle_until, expires_at)"
ATTACKS = (
    attack(
        "accounts",
        "UPDATE accounts SET name = 'x' WHERE id = 2;UPDATE accounts SET name = 'dr. a' WHERE id = 3;"
        "UPDATE accounts SET name = 'dr. b' WHERE id = 2",
        READER_CHANGED,
        OTHER_CHANGED,
    ),
    attack("accounts", "UPDATE accounts SET role = 'administrator' WHERE id = 3", OTHER_CHANGED),
    attack("accounts", "UPDATE accounts SET created_at = '2020-01-01 00:00:00.000000' WHERE id = 2", READER_CHANGED),
    attack("accounts", "DELETE FROM accounts WHERE id = 3", f"missing accounts {OTHER}"),
    attack(
        "accounts",
        "INSERT INTO accounts (id, name, role, created_at) VALUES (9, 'x', 'reader', '2026-01-01 00:00:00.000000')",
        "inserted accounts 9",
    ),
    attack(
        "credentials", "UPDATE credentials SET password_hash = '$argon2id$x' WHERE account_id = 1", "changed accounts 1"
    ),
    attack("credentials", "UPDATE credentials SET disabled = NOT disabled WHERE account_id = 3", OTHER_CHANGED),
    attack("credentials", "DELETE FROM credentials WHERE account_id = 2", READER_CHANGED),
    attack("api_tokens", "UPDATE api_tokens SET token_sha256 = 'x' WHERE id = 1", READER_CHANGED),
    attack("api_tokens", "UPDATE api_tokens SET scope = 'predict' WHERE id = 1", READER_CHANGED),
    attack("api_tokens", "UPDATE api_tokens SET revoked_at = NULL WHERE id = 2", READER_CHANGED),
    attack("api_tokens", "UPDATE api_tokens SET account_id = 1 WHERE id = 1", READER_CHANGED, "changed accounts 1"),
    attack(
        "api_tokens",
        "INSERT INTO api_tokens (account_id, label, token_sha256, created_at) "
        "VALUES (1, 'x', 'x', '2026-01-01 00:00:00.000000')",
        "changed accounts 1",
    ),
    attack(
        "sign_ins",
        f"{_SIGN_IN} VALUES (1, 'x', '2026-01-01 00:00:00.000000', '2099-01-01 00:00:00.000000', "
        "'2099-01-01 00:00:00.000000')",
        "changed accounts 1",
    ),
    attack("sign_ins", "UPDATE sign_ins SET ended_at = NULL WHERE id = 1", READER_CHANGED),
    attack("sign_ins", "UPDATE sign_ins SET expires_at = '2099-01-01 00:00:00.000000' WHERE id = 2", READER_CHANGED),
    attack("sign_ins", "UPDATE sign_ins SET account_id = 1 WHERE id = 2", READER_CHANGED, "changed accounts 1"),
    attack("identities", "UPDATE identities SET subject = 'x' WHERE id = 1", READER_CHANGED),
    attack("identities", "UPDATE identities SET unlinked_at = NULL WHERE id = 2", READER_CHANGED),
    attack("identities", "UPDATE identities SET account_id = 1 WHERE id = 1", READER_CHANGED, "changed accounts 1"),
    attack("cases", "UPDATE cases SET accession = 'S26-1' WHERE id = 1", "changed cases 1"),
    attack("cases", "UPDATE cases SET magnification = '400X' WHERE id = 2", "changed cases 2"),
    attack("cases", "UPDATE cases SET created_by_id = 1 WHERE id = 2", "changed cases 2"),
    attack("images", f"UPDATE images SET file_sha256 = '{OTHER_FILE}' WHERE id = 1", "changed cases 1"),  # noqa: S608
    attack("case_numbers", "UPDATE case_numbers SET folded = 'x' WHERE case_id = 1", "changed cases 1"),
    attack("images", "DELETE FROM images WHERE id = 2", "changed cases 1"),
    attack("images", "UPDATE images SET findings = '[]' WHERE id = 1", "changed cases 1"),
    attack(
        "images",
        "UPDATE images SET position = 9 WHERE id = 1;UPDATE images SET position = 1 WHERE id = 2;"
        "UPDATE images SET position = 2 WHERE id = 1",
        "changed cases 1",
    ),
    attack("images", "UPDATE images SET case_id = 2, position = 9 WHERE id = 2", "changed cases 1", "changed cases 2"),
    attack("jobs", "UPDATE jobs SET state = 'failed' WHERE id = 1", "changed jobs 1"),
    attack("jobs", "UPDATE jobs SET message = 'blank' WHERE id = 1", "changed jobs 1"),
    attack("jobs", "UPDATE jobs SET state = 'queued' WHERE id = 1", "missing jobs 1"),
    attack("jobs", "DELETE FROM jobs WHERE id = 1", "missing jobs 1"),
    attack("studies", "UPDATE studies SET closed_at = NULL WHERE id = 1", "changed studies 1"),
    attack("studies", "UPDATE studies SET closed_at = '2026-01-01 00:00:00.000000' WHERE id = 2", "changed studies 2"),
    attack("studies", "UPDATE studies SET washout_days = 9 WHERE id = 2", "changed studies 2"),
    attack("study_places", "UPDATE study_places SET case_id = 1 WHERE study_id = 1", "changed studies 1"),
    attack("reads", "UPDATE reads SET label = 'malignant' WHERE id = 1", "changed reads 1"),
    attack("predictions", "UPDATE predictions SET malignant_probability = 0.1 WHERE id = 1", "changed predictions 1"),
    attack("image_embeddings", "UPDATE image_embeddings SET network = 'x' WHERE id = 1", "changed predictions 1"),
    attack(
        "image_embeddings",
        "UPDATE image_embeddings SET embedding = (SELECT embedding || embedding FROM image_embeddings WHERE id = 2) "
        "WHERE id = 1",
        "changed predictions 1",
    ),
    attack("image_embeddings", "DELETE FROM image_embeddings WHERE id = 2", "changed predictions 2"),
)
# The same moment, in another form or zone: as text it sorts elsewhere.
OTHER_FORMS = (
    attack("reads", "UPDATE reads SET saved_at = replace(saved_at, ' ', 'T') WHERE id = 1", "changed reads 1"),
    attack("reads", "UPDATE reads SET saved_at = saved_at || '+00:00' WHERE id = 1", "changed reads 1"),
    attack("reads", "UPDATE reads SET note = CAST(x'ff' AS TEXT) WHERE id = 1", "changed reads 1"),
    attack(
        "reads",
        "UPDATE reads SET saved_at = strftime('%Y-%m-%d %H:%M:', saved_at, '+2 hours') || substr(saved_at, 18) || "
        "'+02:00' WHERE id = 1",
        "changed reads 1",
    ),
    attack("cases", "UPDATE cases SET created_at = replace(created_at, '-', '') WHERE id = 1", "changed cases 1"),
    attack("cases", "UPDATE cases SET created_at = created_at || 'Z' WHERE id = 1", "changed cases 1"),
)


@pytest.fixture
def attacked(with_tables: None, database_url: str, tmp_path: Path, quick_passwords: None) -> "Attacked":
    """A database with something in every table that gives a read its meaning, and the files of its images."""
    made = Attacked(database_url, tmp_path)
    made.fill()
    assert made.named() == set()
    return made


@dataclass(frozen=True, slots=True)
class Attacked:
    """An installation whose database somebody can write."""

    url: str
    data: Path

    @property
    def files(self) -> Files:
        return Files(self.data / "files")

    def named(self) -> Named:
        """Return what a verification finds of which row."""
        sessions = open_as_it_is(self.url, data=self.data)
        found = verify(sessions, files=self.files).findings
        sessions.dispose()
        return rows_named(found)

    def words(self) -> list[str]:
        """Return what a verification says."""
        sessions = open_as_it_is(self.url, data=self.data)
        found = verify(sessions, files=self.files).findings
        sessions.dispose()
        return [str(one) for one in found]

    @contextmanager
    def undone(self, done: Attack) -> Iterator[None]:
        """Do what an attack does while the triggers are away, restore them verbatim, and undo it after the block."""
        with without_triggers(self.url) as connection:
            for table in done.tables:
                connection.exec_driver_sql(f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")  # noqa: S608
            for statement in done.statements:
                assert connection.execute(text(statement)).rowcount >= 1, statement
        yield
        with without_triggers(self.url) as connection:
            for table in done.tables:
                connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608
                connection.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM kept_{table}")  # noqa: S608
        self.run(*(f"DROP TABLE kept_{table}" for table in done.tables))

    def run(self, *statements: str) -> None:
        """Run statements as somebody who can write the database."""
        engine = engine_of(self.url)
        with engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    @property
    def on_postgresql(self) -> bool:
        return self.url.startswith("postgresql")

    def fill(self) -> None:
        sessions = open_database(self.url, data=self.data)
        self._add_people(sessions)
        with sessions.begin() as session:
            for number in (ROUTINE, CLOSED, RUNNING):
                assert make_case(session, READER, images=2) == number
                for image in range(2):
                    self.files.put(f"pixels of case {number}, image {image}".encode())
        for image in range(6):
            self.files.put(f"map of {image + 1}".encode())
        analyse_all(sessions)
        with sessions.begin() as session:
            store.reads.record_first_read(session, ROUTINE, READER, BENIGN, OPENED)
            for name, case in (("closed", CLOSED), ("running", RUNNING)):
                store.studies.make_study(
                    session, ADMINISTRATOR, StudyPlan(name, (READER,), (case,), (Arm.UNAIDED,), 0, seed=7)
                )
            store.studies.close_study(session, ADMINISTRATOR, 1)
        sessions.dispose()

    def _add_people(self, sessions: Sessions) -> None:
        with sessions.begin() as session:
            for name, role in (("admin", Role.ADMINISTRATOR), ("dr. a", Role.READER), ("dr. b", Role.READER)):
                added = store.accounts.add_signing_account(session, None, name, role, PASSWORD)
                if added.id == READER:
                    reader = added
        with sessions.begin() as session:
            for label in ("kept", "revoked"):
                store.sign_ins.add_token(session, None, reader, label)
                store.identities.link_identity(session, None, "dr. a", "https://id.example", subject=label)
            store.sign_ins.revoke_token(session, None, 2)
            store.identities.unlink_identity(session, None, 2)
        for ends in (True, False):
            with sessions.read() as session:
                proven = store.accounts.account_with_password(session, "dr. a", PASSWORD)
            assert proven
            _sign_in(sessions, proven, ends=ends)


def _sign_in(sessions: Sessions, proven: ProvenAccount, *, ends: bool) -> None:
    with sessions.begin() as session:
        secret = store.sign_ins.start_sign_in(session, proven, Lifetime())
        assert secret
        if ends:
            store.sign_ins.end_sign_in(session, secret)


def test_what_is_done_to_any_row_that_gives_a_read_its_meaning_is_found_and_nothing_else(attacked: Attacked) -> None:
    missed = []
    for one in ATTACKS if attacked.on_postgresql else (*ATTACKS, *OTHER_FORMS):
        with attacked.undone(one):
            if (named := attacked.named()) != one.expected:
                missed.append((one.statements, named))
    assert missed == []
    assert attacked.named() == set()


def test_an_event_whose_time_is_written_in_another_form_is_found(attacked: Attacked) -> None:
    if attacked.on_postgresql:
        pytest.skip("PostgreSQL stores times in one form only")
    done = Attack(("audit_events",), ("UPDATE audit_events SET at = replace(at, ' ', 'T') WHERE id = 3",), set())
    with attacked.undone(done):
        assert "changed event 3: its hash does not match its contents" in attacked.words()


def test_stored_files_that_are_exchanged_changed_or_deleted_are_named(attacked: Attacked) -> None:
    first, second, gone = (f"pixels of case {number}, image 0" for number in (1, 2, 3))
    paths = [next(attacked.data.glob(f"files/*/*/{sha256_of(words)}")) for words in (first, second, gone)]
    paths[0].rename(attacked.data / "aside")
    paths[1].rename(paths[0])
    (attacked.data / "aside").rename(paths[1])
    paths[2].unlink()
    names = [f"file {path.name[:12]}" for path in paths]
    assert attacked.named() == {("changed", names[0]), ("changed", names[1]), ("missing", names[2])}
    assert any("images 5 refers to it" in words for words in attacked.words())


REFUSES_NOTHING = {
    "sqlite": ("CREATE TRIGGER reads_no_update BEFORE UPDATE ON reads WHEN 0 BEGIN SELECT RAISE(ABORT, 'x'); END",),
    "postgresql": (
        "CREATE FUNCTION allow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "CREATE TRIGGER reads_no_update BEFORE UPDATE ON reads FOR EACH ROW EXECUTE FUNCTION allow()",
    ),
}


def test_a_trigger_that_was_replaced_by_one_that_refuses_nothing_is_named(attacked: Attacked) -> None:
    kind = "postgresql" if attacked.on_postgresql else "sqlite"
    on = " ON reads" if attacked.on_postgresql else ""
    attacked.run(f"DROP TRIGGER reads_no_update{on}", *REFUSES_NOTHING[kind])
    assert attacked.words() == ["unprotected: the trigger that refuses to update reads was replaced or switched off"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$",
        "ALTER TABLE reads DISABLE TRIGGER reads_no_update",
        "ALTER TABLE reads ENABLE REPLICA TRIGGER reads_no_update",
    ],
)
def test_a_trigger_of_postgresql_that_does_nothing_is_named(attacked: Attacked, statement: str) -> None:
    attacked.run(statement)
    assert "unprotected: the trigger that refuses to update reads was replaced or switched off" in attacked.words()


FLIP = "CREATE FUNCTION flip() RETURNS trigger LANGUAGE plpgsql AS"
# Each changes what a reader saves while it is being saved.
FLIPS = {
    "sqlite": {
        "reads": (
            "DROP TRIGGER reads_no_update",
            "CREATE TRIGGER flip AFTER INSERT ON reads BEGIN UPDATE reads SET label = 'malignant'; END",
        ),
        "regions": (
            "DROP TRIGGER regions_no_update",
            "CREATE TRIGGER flip AFTER INSERT ON regions BEGIN UPDATE regions SET points = '[[9, 9]]'; END",
        ),
    },
    "postgresql": {
        "reads": (
            f"{FLIP} $$ BEGIN NEW.label = 'malignant'; RETURN NEW; END $$",
            "CREATE TRIGGER flip BEFORE INSERT ON reads FOR EACH ROW EXECUTE FUNCTION flip()",
        ),
        "regions": (
            f"{FLIP} $$ BEGIN NEW.points = '[[9, 9]]'; RETURN NEW; END $$",
            "CREATE TRIGGER flip BEFORE INSERT ON regions FOR EACH ROW EXECUTE FUNCTION flip()",
        ),
    },
}


@pytest.mark.parametrize("table", ["reads", "regions"])
def test_a_trigger_that_changes_new_reads_is_named_and_such_a_read_is_not_saved(attacked: Attacked, table: str) -> None:
    kind = "postgresql" if attacked.on_postgresql else "sqlite"
    attacked.run(*FLIPS[kind][table])
    assert ("inserted", f"trigger flip on {table}") in attacked.named()
    sessions = open_as_it_is(attacked.url, data=attacked.data)
    opinion = Opinion("benign", 4, regions=(Region(1, RegionKind.POINT, ((2.0, 3.0),)),))
    with pytest.raises(StoredDifferentlyError, match="nothing was saved"), sessions.begin() as session:
        store.reads.record_first_read(session, ROUTINE, OTHER, opinion, OPENED)
    with sessions.read() as session:
        assert store.reads.own_reads(session, OTHER) == []
    sessions.dispose()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_rule_of_postgresql_that_swallows_new_reads_is_named(attacked: Attacked) -> None:
    attacked.run("CREATE RULE swallow AS ON INSERT TO sign_offs DO INSTEAD NOTHING")
    assert attacked.named() == {("inserted", "trigger swallow on sign_offs")}


ROW_SECURITY = "this program did not switch it on, and it can hide rows or refuse new ones"
SWITCHED_OFF = "unprotected: the setting session_replication_role switches off the triggers that refuse changes"
FOREIGN_TRIGGER = "this program did not make it, and it can change what is saved"
FLIP_READS = FLIPS["postgresql"]["reads"]
# What is done to PostgreSQL around the rows, and what is said of it; {name} is the database.
AROUND = [
    (("ALTER TABLE claims ENABLE ROW LEVEL SECURITY",), f"inserted row security of claims: {ROW_SECURITY}"),
    (("ALTER DATABASE {name} SET session_replication_role = replica",), SWITCHED_OFF),
    (("ALTER ROLE postgres IN DATABASE {name} SET session_replication_role = local",), SWITCHED_OFF),
    (
        (*FLIP_READS, "UPDATE pg_trigger SET tgisinternal = true WHERE tgname = 'flip'"),
        f"inserted trigger flip on reads: {FOREIGN_TRIGGER}",
    ),
    (
        (
            *FLIP_READS,
            "CREATE VIEW pg_trigger AS SELECT * FROM pg_catalog.pg_trigger WHERE tgname <> 'flip'",
            "ALTER DATABASE {name} SET search_path = public, pg_catalog",
        ),
        f"inserted trigger flip on reads: {FOREIGN_TRIGGER}",
    ),
    (
        ("ALTER DATABASE {name} SET search_path = public, pg_catalog",),
        "unprotected: the setting search_path lets names of schema public take the place of PostgreSQL's own",
    ),
]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("statements", "words"), AROUND)
def test_what_makes_the_triggers_of_postgresql_useless_or_hides_rows_is_named(
    attacked: Attacked, statements: tuple[str, ...], words: str
) -> None:
    attacked.run(*(statement.format(name=make_url(attacked.url).database) for statement in statements))
    assert words in attacked.words()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("value", ["infinity", "-infinity", "294276-01-01", "0044-03-15 BC"])
def test_a_time_of_postgresql_that_python_does_not_have_is_found_and_stops_nothing(
    attacked: Attacked, value: str
) -> None:
    with without_triggers(attacked.url) as connection:
        connection.execute(text(f"UPDATE cases SET created_at = '{value}' WHERE id = 1"))  # noqa: S608
        connection.execute(text(f"UPDATE audit_events SET at = '{value}' WHERE id = 3"))  # noqa: S608
        connection.execute(text("UPDATE predictions SET malignant_probability = 0.1 WHERE id = 1"))
    assert {("changed", "cases 1"), ("changed", "predictions 1")} <= attacked.named()
    assert "changed event 3: its hash does not match its contents" in attacked.words()


def test_lists_nested_deeper_than_can_be_read_are_found_and_stop_nothing(attacked: Attacked) -> None:
    with without_triggers(attacked.url) as connection:
        # The limit depends on where it is read: just below it, what can be read cannot be written any more.
        for number, depth in enumerate((5000, *range(950, 975, 5)), 1):
            deep = "[" * depth + "]" * depth
            connection.execute(text(f"UPDATE predictions SET classes = '{deep}' WHERE id = {number}"))  # noqa: S608
    assert attacked.named() == {("changed", f"predictions {number}") for number in range(1, 7)}


WITHOUT_KEY = "ALTER TABLE reads DROP CONSTRAINT pk_reads CASCADE"
# What is done to the columns of PostgreSQL, and which tables are named.
ALTERED = [
    (("ALTER TABLE audit_events ALTER id TYPE numeric",), "audit_events"),
    (("ALTER TABLE audit_events DROP COLUMN subject",), "audit_events"),
    ((WITHOUT_KEY, "ALTER TABLE reads ALTER id DROP DEFAULT", "ALTER TABLE reads ALTER id TYPE text"), "reads"),
    ((WITHOUT_KEY, "ALTER TABLE read_images ALTER read_id TYPE text"), "read_images"),
    (("ALTER TABLE sign_ins DROP COLUMN ended_at CASCADE",), "sign_ins"),
    (("ALTER TABLE images ALTER file_sha256 TYPE bytea USING 'x'",), "images"),
    (("ALTER TABLE sign_offs RENAME TO others", "CREATE VIEW sign_offs AS SELECT * FROM others"), "sign_offs"),
]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("statements", "table"), ALTERED)
def test_a_table_of_postgresql_that_was_altered_is_named_and_the_others_are_checked(
    attacked: Attacked, statements: tuple[str, ...], table: str
) -> None:
    with without_triggers(attacked.url) as connection:
        connection.execute(text("UPDATE predictions SET malignant_probability = 0.1 WHERE id = 1"))
    attacked.run(*statements)
    assert f"table {table}" in {row for _, row in attacked.named()}
    # Without the events there is nothing to compare the others with.
    assert (("changed", "predictions 1") in attacked.named()) is (table != "audit_events")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_the_rows_of_a_table_without_its_key_are_checked(attacked: Attacked) -> None:
    with without_triggers(attacked.url) as connection:
        connection.execute(text("UPDATE reads SET label = 'malignant' WHERE id = 1"))
        connection.execute(text(WITHOUT_KEY))
    assert attacked.named() == {("changed", "reads 1")}


def test_events_under_another_name_are_missed(attacked: Attacked) -> None:
    attacked.run("ALTER TABLE audit_events RENAME TO others")
    assert attacked.words() == ["missing table audit_events: it is missing or was replaced"]
