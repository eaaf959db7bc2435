"""The export of reads for MRMC software: complete, without names, and of those only who may have them."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.imaging.scale import Scale
from core.labels import Malignancy
from db import store, tables
from db.database import Sessions
from db.errors import InStudyError, NotAllowedError
from db.queries import exported_reads, reads
from db.store.exports import DEIDENTIFIED, ExportDetail
from db.values.accounts import Role
from db.values.exports import ExportedCase, ExportedRead
from db.values.reading import Opinion
from db.values.scales import ChosenScale
from service.exports.mrmc import _scores, write_imrmc_file
from service.exports.study_archive import ExportRequest, make_reads_archive
from tests.helpers.databases import open_new
from tests.helpers.exports import (
    ARMS,
    NOTE,
    PilotStudy,
    add_consensus,
    add_sign_offs,
    case_of_first_pages,
    csv_rows,
    opinion_with_regions,
    read_pilot_study,
    reads_table,
    unzip,
)
from tests.helpers.rows import BENIGN, MALIGNANT, MODEL, OPENED, SAYS_BENIGN, out_of_scope, study_rows, usual
from tests.helpers.world import World, add_person, analyse_each, make_case, make_reader, make_study_world, make_world


def settled(sessions: Sessions) -> PilotStudy:
    """Make a study whose cases are settled: by consensus, by sign-off, and as not to be assessed."""
    made = read_pilot_study(sessions)
    adjudicator = made.roles[Role.ADJUDICATOR]
    with sessions.begin() as session:
        add_consensus(session, made.world.cases[0], adjudicator, "benign")
        add_sign_offs(session, made.world.cases[0], adjudicator, "malignant")
        add_sign_offs(session, made.world.cases[1], adjudicator, "benign", "malignant")
        add_consensus(session, made.world.cases[2], adjudicator, None)
    return made


@pytest.fixture(scope="module")
def pilot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PilotStudy]:
    """One for all tests that only look at it."""
    sessions = open_new(tmp_path_factory.mktemp("pilot") / "second_read.sqlite")
    yield settled(sessions)
    sessions.dispose()


def archive(pilot: PilotStudy, role: Role, *, study: int | None = None, named: bool = False) -> dict[str, bytes]:
    wanted = ExportRequest(pilot.roles[role], study, ExportDetail(named))
    return unzip(make_reads_archive(pilot.sessions, wanted))


def trail(pilot: PilotStudy) -> list[str]:
    with pilot.sessions.begin() as session:
        return [event.subject for event in store.audit.audit_trail(session) if event.action == "exported"]


def test_every_read_of_a_study_is_one_line_with_its_place(sessions: Sessions) -> None:
    pilot = settled(sessions)
    rows = csv_rows(archive(pilot, Role.RESEARCHER, study=pilot.study)["reads.csv"])
    # Two readers, three cases; two arms are read twice, before and after the model.
    assert len(rows) == 2 * 3 * (1 + 2 + 1 + 2)
    for reader in ("1", "2"):
        of_reader = [row for row in rows if row["reader"] == reader]
        assert [row["round"] for row in of_reader] == sorted(row["round"] for row in of_reader)
        for number, arm in enumerate(ARMS, start=1):
            of_round = [row for row in of_reader if row["round"] == str(number)]
            assert {row["arm"] for row in of_round} == {arm.value}
            assert {row["position"] for row in of_round} == {""}, "it would tell which read this is"
            assert {row["iteration"] for row in of_round} == {"2" if number == 4 else "1"}
    aided = [row for row in rows if row["model_visible"] == "True"]
    assert {row["arm"] for row in aided if row["stage"] == "final"} == {"blind first", "model first"}
    assert {(row["model_label"], row["model_threshold"], row["model_version"]) for row in aided} == {
        ("malignant", "0.41", "3f9a1c22b0e4")
    }
    assert all(float(row["revealed"]) <= float(row["saved"]) for row in aided)
    assert not any(row["model_probability"] or row["revealed"] for row in rows if row["model_visible"] == "False")
    assert {(row["label"], row["confidence"], row["malignancy_score"]) for row in rows} == {("malignant", "2", "6")}


def test_the_reference_is_the_consensus_else_what_was_signed_last(pilot: PilotStudy) -> None:
    rows = csv_rows(archive(pilot, Role.ADMINISTRATOR, study=pilot.study, named=True)["reads.csv"])
    found = {row["accession"]: (row["reference_label"], row["reference_from"]) for row in rows}
    assert found == {
        "C-0001": ("benign", "consensus"),
        "C-0002": ("malignant", "sign-off"),
        "C-0003": ("", "consensus"),
    }


def test_scores_are_in_the_format_of_imrmc(pilot: PilotStudy) -> None:
    text = archive(pilot, Role.RESEARCHER, study=pilot.study)["scores.imrmc"].decode("ascii")
    head, _, data = text.partition("BEGIN DATA:\n")
    assert [line for line in head.splitlines() if line[:2] in ("NR", "N0", "N1", "NM")] == [
        "NR: 2",
        "N0: 1",
        "N1: 1",
        "NM: 6",
    ]
    lines = [line.split(",") for line in data.splitlines()]
    truth, scores = [line for line in lines if line[0] == "-1"], [line for line in lines if line[0] != "-1"]
    assert sorted(line[3] for line in truth) == ["0", "1"]
    assert {line[1] for line in scores} == {line[1] for line in truth}, "the case without a label is left out"
    before, after = "blind-first-before", "blind-first-after"
    modalities = {"unaided", before, after, "model-first", f"{before}-again-2", f"{after}-again-2"}
    assert {line[2] for line in scores} == modalities
    assert len({tuple(line[:3]) for line in scores}) == len(scores) == 2 * 2 * 6, "one score each, fully crossed"


def test_without_names_nothing_tells_who_or_which_case(pilot: PilotStudy) -> None:
    for role, study in ((Role.RESEARCHER, pilot.study), (Role.RESEARCHER, None), (Role.ADMINISTRATOR, None)):
        files = archive(pilot, role, study=study)
        sheets = unzip(files.pop("reads.xlsx"))
        text = "\n".join(data.decode() for data in [*files.values(), *sheets.values()])
        for telltale in ("dr. a", "dr. b", "C-0001", "Telltale", "the adjudicator"):
            assert telltale not in text, (role, study, telltale)
        assert "De-identified" in files["README.txt"].decode()


def test_names_notes_and_clock_times_are_for_administrators_who_ask(pilot: PilotStudy) -> None:
    for role in (Role.RESEARCHER, Role.READER, Role.ADJUDICATOR):
        with pytest.raises(NotAllowedError, match="your role may not export names or clock times: export without them"):
            archive(pilot, role, study=pilot.study, named=True)
        with pytest.raises(NotAllowedError, match="times"):
            make_reads_archive(
                pilot.sessions, ExportRequest(pilot.roles[role], pilot.study, ExportDetail(clock_times=True))
            )
    wanted = ExportRequest(pilot.roles[Role.ADMINISTRATOR], pilot.study, ExportDetail(named=True, clock_times=True))
    files = unzip(make_reads_archive(pilot.sessions, wanted))
    rows = csv_rows(files["reads.csv"])
    assert {row["reader_name"][:5] for row in rows} == {"dr. a", "dr. b"}
    assert {row["note"] for row in rows} == {MALIGNANT.note}
    assert rows[0]["opened"] == OPENED.isoformat()
    assert "treat it as patient data" in files["README.txt"].decode()


def test_a_reader_gets_own_reads_and_no_answer_before_the_last_word(sessions: Sessions) -> None:
    pilot = read_pilot_study(sessions)
    own, other = pilot.world.readers
    case_id = pilot.world.cases[0]
    with sessions.begin() as session:
        store.reads.record_first_read(session, case_id, own, BENIGN, OPENED)
        store.reads.record_first_read(session, case_id, other, BENIGN, OPENED)
        store.reads.record_final_read(session, case_id, other, MALIGNANT, OPENED)
        add_consensus(session, case_id, pilot.roles[Role.ADJUDICATOR], "malignant")
    for study in (None, pilot.study):
        rows = csv_rows(unzip(make_reads_archive(sessions, ExportRequest(own, study)))["reads.csv"])
        assert {row["reader"] for row in rows} == {"1"}
        assert not any(row["reference_label"] for row in rows), "the others' answer opens after the own last word"
        assert len(rows) == (1 if study is None else 18)
    with sessions.begin() as session:
        store.reads.record_final_read(session, case_id, own, MALIGNANT, OPENED)
    with sessions.begin() as session:
        store.reads.end_undo(session, own)
    rows = csv_rows(unzip(make_reads_archive(sessions, ExportRequest(own)))["reads.csv"])
    assert [(row["stage"], row["reference_label"]) for row in rows] == [("first", "malignant"), ("final", "malignant")]


def test_an_open_study_is_exported_by_who_does_not_read_in_it(sessions: Sessions) -> None:
    pilot = read_pilot_study(sessions, closed=False)
    with pytest.raises(InStudyError, match="you can export it after it is closed"):
        make_reads_archive(sessions, ExportRequest(pilot.world.readers[0], pilot.study))
    files = archive(pilot, Role.RESEARCHER, study=pilot.study)
    assert "still open" in files["README.txt"].decode()
    assert "reads.csv" in archive(pilot, Role.ADMINISTRATOR, study=pilot.study)
    with pytest.raises(LookupError):
        archive(pilot, Role.ADMINISTRATOR, study=99)


def test_numbers_do_not_follow_the_order_of_entry_and_change_with_every_export(sessions: Sessions) -> None:
    found = make_study_world(sessions, cases=12, readers=6)
    with sessions.begin() as session:
        for reader in found.readers:
            for case in found.cases:
                store.reads.record_first_read(session, case, reader, BENIGN, OPENED)

    def numbered(key: str | None) -> tuple[list[int], list[int]]:
        with sessions.read() as session:
            export = store.exports.exported_reads(
                session, found.planner, study_id=None, told=ExportDetail(named=True), key=key
            )
        readers = {one.read.reader: one.reader_number for one in export.reads}
        cases = {case.accession: case.number for case in export.cases}
        return [readers[name] for name in sorted(readers)], [cases[name] for name in sorted(cases)]

    orders = [numbered(None) for _ in range(3)]
    for readers, cases in orders:
        assert sorted(readers) == list(range(1, 7))
        assert sorted(cases) == list(range(1, 13))
    assert len({tuple(cases) for _, cases in orders}) == 3
    assert len({tuple(readers) for readers, _ in orders}) > 1
    assert numbered("a key") == numbered("a key") != numbered("another key")


def test_lines_come_in_the_order_of_numbers_and_not_of_entry(sessions: Sessions) -> None:
    found = make_study_world(sessions, cases=2, readers=4)
    with sessions.begin() as session:
        for reader in found.readers:
            for case in found.cases:
                store.reads.record_first_read(session, case, reader, BENIGN, OPENED)
    rows = csv_rows(unzip(make_reads_archive(sessions, ExportRequest(found.planner)))["reads.csv"])
    assert [row["reader"] for row in rows] == ["1", "1", "2", "2", "3", "3", "4", "4"]


def test_a_read_that_was_taken_back_or_amended_stays_and_does_not_count(sessions: Sessions) -> None:
    found = make_study_world(sessions, cases=2)
    reader, (taken_back, amended) = found.readers[0], found.cases
    surer = Opinion("malignant", 5, note="after a second look")
    with sessions.begin() as session:
        for case in (taken_back, amended):
            store.reads.record_first_read(session, case, reader, BENIGN, OPENED)
            first = store.reads.record_final_read(session, case, reader, MALIGNANT, OPENED)
            if case == taken_back:
                store.reads.withdraw_read(session, first.id, reader)
        store.reads.amend_read(session, amended, reader, surer, OPENED)
        add_sign_offs(session, amended, reader, "malignant")
        add_consensus(session, taken_back, found.planner, "benign")
    files = unzip(make_reads_archive(sessions, ExportRequest(found.planner, told=ExportDetail(named=True))))
    rows = [row for row in csv_rows(files["reads.csv"]) if row["reader_name"].startswith("dr. a")]
    states = {
        case: [(row["stage"], row["superseded"], row["withdrawn"]) for row in rows if row["accession"] == case]
        for case in ("C-0001", "C-0002")
    }
    assert states == {
        "C-0001": [("first", "False", "False"), ("final", "True", "True"), ("withdrawn", "False", "False")],
        "C-0002": [("first", "False", "False"), ("final", "True", "False"), ("final", "False", "False")],
    }
    assert [row["label"] for row in rows if row["stage"] == "withdrawn"] == [""]
    scores = files["scores.imrmc"].decode().splitlines()
    after = [line.split(",")[3] for line in scores if line.endswith(("after,6", "after,9", "after,1"))]
    assert after == ["6"], "what was taken back has no score, and the amendment does not count"


def test_regions_are_geojson_in_image_pixels(sessions: Sessions) -> None:
    found = make_study_world(sessions, cases=1)
    reader, case_id = found.readers[0], found.cases[0]
    with sessions.begin() as session:
        image = store.open_case.case_images(session, case_id)[0].id
        store.reads.record_first_read(session, case_id, reader, opinion_with_regions(image), OPENED)
    files = unzip(make_reads_archive(sessions, ExportRequest(found.planner)))
    document = json.loads(files["regions/case-1-image-1.geojson"])
    geometries = [feature["geometry"] for feature in document["features"]]
    assert geometries == [
        {"type": "Point", "coordinates": [10.5, 20]},
        {"type": "Polygon", "coordinates": [[[5, 6], [50, 6], [50, 60], [5, 60], [5, 6]]]},
        {"type": "Polygon", "coordinates": [[[1, 1], [90, 4], [40, 80], [1, 1]]]},
        {"type": "LineString", "coordinates": [[10, 10], [130, 100]]},
    ]
    assert {feature["properties"]["objectType"] for feature in document["features"]} == {"annotation"}
    *areas, line = (feature["properties"] for feature in document["features"])
    assert {area["classification"]["name"] for area in areas} == {"malignant"}
    assert line["classification"]["name"] == "length", "a length is no area of the label"
    assert line["metadata"]["length_px"] == "150.0"
    assert "length_um" not in line["metadata"], "without a scale there are no micrometres"
    assert document["image"] == {"case": "case 1", "position": 1, "width": 700, "height": 460}
    row = csv_rows(files["reads.csv"])[0]
    assert (row["regions"], row["lengths"], row["image_scales"]) == ("3", "1", "")
    assert "Telltale" not in json.dumps(document)
    named = unzip(make_reads_archive(sessions, ExportRequest(found.planner, told=ExportDetail(named=True))))
    assert "Telltale" in named["regions/case-1-image-1.geojson"].decode()


def test_scales_are_in_an_export_and_the_microscope_only_with_names(sessions: Sessions) -> None:
    found = make_study_world(sessions, cases=1)
    reader, case_id = found.readers[0], found.cases[0]
    with sessions.begin() as session:
        image = store.open_case.case_images(session, case_id)[0].id
        store.scales.set_objective(session, found.planner, "Telltale BX51", "10x", 0.2)
        (lens,) = store.scales.objectives(session, reader)
        store.scales.set_scale(session, reader, image, ChosenScale(Scale(0.2, "microscope"), lens.id))
        store.reads.record_first_read(session, case_id, reader, opinion_with_regions(image), OPENED)
    files = unzip(make_reads_archive(sessions, ExportRequest(found.planner)))
    assert csv_rows(files["reads.csv"])[0]["image_scales"] == "image 1: 0.2 µm per pixel, from a microscope profile"
    document = json.loads(files["regions/case-1-image-1.geojson"])
    assert (document["image"]["um_per_px"], document["image"]["scale"]) == (0.2, "from a microscope profile")
    assert document["features"][-1]["properties"]["metadata"]["length_um"] == "30"
    assert b"Telltale" not in b"".join(files.values())
    named = unzip(make_reads_archive(sessions, ExportRequest(found.planner, told=ExportDetail(named=True))))
    assert "Telltale BX51, 10x" in csv_rows(named["reads.csv"])[0]["image_scales"]


def test_with_names_times_are_seconds_since_the_first_read_of_each_reader(sessions: Sessions) -> None:
    found = make_study_world(sessions, cases=2, readers=2)
    with sessions.begin() as session:
        for days, reader in enumerate(found.readers):
            for minutes, case in enumerate(found.cases):
                opened = datetime.now(UTC) - timedelta(days=days + 1) + timedelta(minutes=minutes)
                store.reads.record_first_read(session, case, reader, BENIGN, opened, edit_seconds=12.5)
    rows = csv_rows(
        unzip(make_reads_archive(sessions, ExportRequest(found.planner, told=ExportDetail(named=True))))["reads.csv"]
    )
    assert sorted((row["reader"], round(float(row["opened"]))) for row in rows) == [
        ("1", 0), ("1", 60), ("2", 0), ("2", 60),
    ]  # fmt: skip
    assert {row["edit_seconds"] for row in rows} == {"12.5"}
    assert str(datetime.now(UTC).year) not in rows[0]["saved"]


def test_lines_of_two_exports_cannot_be_matched_by_their_times(sessions: Sessions) -> None:
    """Each case has another magnification, so that this test, and nobody else, knows which line is which."""
    world = make_study_world(sessions, cases=0)
    with sessions.begin() as session:
        world = replace(world, cases=tuple(make_case(session, world.planner, magnification=f"{n}X") for n in range(12)))
        for place, case in enumerate(world.cases):
            opened = datetime.now(UTC) - timedelta(seconds=37 + 101 * place)
            store.reads.record_first_read(session, case, world.reader, BENIGN, opened, edit_seconds=11 + 17.25 * place)

    def times(key: str, told: ExportDetail = DEIDENTIFIED) -> dict[str, tuple[str, ...]]:
        with sessions.read() as session:
            export = store.exports.exported_reads(session, world.planner, study_id=None, told=told, key=key)
        columns = ("opened", "revealed", "saved", "seconds", "edit_seconds", "position")
        return {row["magnification"]: tuple(row[c] for c in columns) for row in csv_rows(reads_table(export))}

    one, other = times("one key"), times("another key")
    named = times("one key", ExportDetail(named=True))
    assert len(set(named.values())) == 12, "the times of each read are its own"
    assert sorted(one.values()) == sorted(other.values()), "how long a reader needs is still known"
    assert sum(one[case] == other[case] for case in one) <= 2, "by chance"
    assert not set(one.values()) & set(named.values())
    assert list(one) != list(other) != list(named), "the order of the lines is drawn anew"
    for since, revealed, saved, seconds, edited, position in one.values():
        assert (float(since), revealed, position) == (0, "", "")
        assert float(saved) == float(seconds)
        assert float(seconds) % 5 == float(edited) % 5 == 0


def test_rounded_times_of_a_reveal_stay_between_opening_and_saving(pilot: PilotStudy) -> None:
    for row in csv_rows(archive(pilot, Role.RESEARCHER, study=pilot.study)["reads.csv"]):
        assert float(row["opened"]) == 0
        assert (row["revealed"] != "") is (row["model_visible"] == "True")
        assert 0 <= float(row["revealed"] or 0) <= float(row["saved"])


def test_an_informed_read_is_marked_and_has_no_score(sessions: Sessions) -> None:
    world = make_world(sessions, readers=2, can_sign_in=True)
    world.read_differently()
    world.end_undo(world.reader)
    world.amend(world.reader, SAYS_BENIGN)
    with sessions.begin() as session:
        planner = add_person(session, "the planner", Role.ADMINISTRATOR)
    # No study is made of cases that its readers have read in routine any more; a database may have some from before.
    world.add(*study_rows(world.case_id, world.reader, planner))
    study = 1
    world.read_at_place(1)
    with sessions.begin() as session:
        add_sign_offs(session, world.case_id, world.readers[1], "malignant")
    named = ExportDetail(named=True)
    routine = unzip(make_reads_archive(sessions, ExportRequest(planner, told=named)))
    marked = [(row["reader_name"], row["stage"], row["informed"]) for row in csv_rows(routine["reads.csv"])]
    assert [one for one in marked if one[2] == "True"] == [("dr. a", "final", "True")]
    assert len(marked) == 5
    inside = unzip(make_reads_archive(sessions, ExportRequest(planner, study, named)))
    assert [row["informed"] for row in csv_rows(inside["reads.csv"])] == ["True"]
    with sessions.read() as session:
        export = store.exports.exported_reads(session, planner, study_id=study)
    assert list(_scores(export)) == []


def test_every_export_is_in_the_audit_trail_before_it_is_given_out(pilot: PilotStudy) -> None:
    archive(pilot, Role.RESEARCHER, study=pilot.study)
    archive(pilot, Role.ADMINISTRATOR, study=pilot.study, named=True)
    assert trail(pilot)[:2] == [
        "36 reads of 2 readers and 3 cases, with names: pilot",
        "36 reads of 2 readers and 3 cases, de-identified: pilot",
    ]
    before = len(trail(pilot))
    with pytest.raises(NotAllowedError):
        archive(pilot, Role.RESEARCHER, named=True)
    assert len(trail(pilot)) == before


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_an_export_is_the_same_however_few_reads_come_at_once(
    pilot: PilotStudy, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    asked = [
        (pilot.roles[Role.ADMINISTRATOR], study, ExportDetail(named, clock))
        for study in (pilot.study, None)
        for named in (False, True)
        for clock in (False, True)
    ]
    asked += [(pilot.world.readers[0], pilot.study, DEIDENTIFIED), (pilot.roles[Role.RESEARCHER], None, DEIDENTIFIED)]

    def export_all() -> list[tuple[list[ExportedCase], list[ExportedRead]]]:
        with pilot.sessions.read() as session:
            made = [
                store.exports.exported_reads(session, who, study_id=study, told=told, key="a key")
                for who, study, told in asked
            ]
        return [(list(one.cases), list(one.reads)) for one in made]

    together = export_all()
    for module in (reads, exported_reads):
        monkeypatch.setattr(module, "AT_ONCE", at_once)
    assert export_all() == together
    assert {len(saved) for _, saved in together} == {36, 18, 2}
    assert any(one.superseded for _, saved in together for one in saved) is False


def test_an_export_finds_what_replaces_a_read_in_another_block(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (reads, exported_reads):
        monkeypatch.setattr(module, "AT_ONCE", 1)
    world = make_study_world(sessions, cases=1)
    with sessions.begin() as session:
        store.reads.record_first_read(session, world.case_id, world.reader, BENIGN, OPENED)
        final = store.reads.record_final_read(session, world.case_id, world.reader, MALIGNANT, OPENED)
        store.reads.withdraw_read(session, final.id, world.reader)
    with sessions.read() as session:
        export = store.exports.exported_reads(session, world.planner, study_id=None)
    assert [(one.superseded, one.withdrawn) for one in export.reads] == [(False, False), (True, True), (False, False)]


def test_who_is_disabled_gets_nothing(pilot: PilotStudy) -> None:
    with pilot.sessions.begin() as session:
        account = store.accounts.add_account(session, "gone", Role.RESEARCHER).id
        session.add(
            tables.Credential(account_id=account, password_hash=None, disabled=True, changed_at=datetime.now(UTC))
        )
    with pytest.raises(NotAllowedError):
        make_reads_archive(pilot.sessions, ExportRequest(account))


def test_a_note_is_inert_in_the_table(sessions: Sessions) -> None:
    found = make_study_world(sessions, cases=1)
    with sessions.begin() as session:
        store.reads.record_first_read(
            session, found.cases[0], found.readers[0], Opinion("benign", 3, note=NOTE), OPENED
        )
    row = csv_rows(
        unzip(make_reads_archive(sessions, ExportRequest(found.planner, told=ExportDetail(named=True))))["reads.csv"]
    )[0]
    assert row["note"] == f"'{NOTE}"


def test_how_files_were_read_is_told_with_each_read(world: World) -> None:
    case_of_first_pages(world)
    files = unzip(make_reads_archive(world.sessions, ExportRequest(world.reader)))
    rows = csv_rows(files["reads.csv"])
    assert {row["image_notes"] for row in rows} == {"image 1: only the first of 2 pages is used"}
    assert "image_notes" in files["README.txt"].decode()


def test_a_case_without_an_opinion_of_the_model_has_no_aided_score_and_is_named(sessions: Sessions) -> None:
    with sessions.begin() as session:
        reader = make_reader(session)
        cases = [make_case(session, reader) for _ in range(3)]
    analyse_each(sessions, out_of_scope(), usual(), usual())
    with sessions.begin() as session:
        for case_id in cases:
            for record in (store.reads.record_first_read, store.reads.record_final_read):
                record(session, case_id, reader, MALIGNANT, OPENED)
        adjudicator = make_reader(session, "dr. j")
        labels: tuple[Malignancy, ...] = ("malignant", "malignant", "benign")
        for case_id, label in zip(cases, labels, strict=True):
            add_sign_offs(session, case_id, adjudicator, label)
    with sessions.read() as session:
        export = store.exports.exported_reads(session, reader, study_id=None, told=ExportDetail(named=True))
    withheld = next(case.number for case in export.cases if case.accession == "C-0001")
    scored = {(case, modality) for _, case, modality, _ in _scores(export)}
    assert (withheld, "blind-first-before") in scored
    assert [case for case, modality in scored if modality == "blind-first-after" and case == withheld] == []
    assert len(scored) == 5
    scores = (write_imrmc_file(export) or b"").decode()
    assert f"cases without a score with the model, because they are outside its scope: {withheld}\n" in scores
    row = next(row for row in csv_rows(reads_table(export)) if row["accession"] == "C-0001" and row["stage"] == "final")
    shown = (row["model_visible"], row["model_scope"], row["model_version"], row["model_label"])
    assert shown == ("False", "out", MODEL.version, "")
