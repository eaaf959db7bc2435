"""Which cases of a site a model can be fitted to, and with which label."""

from db import store, tables
from db.database import Sessions
from db.values.audit import Action
from db.values.evaluations import JudgedCase
from tests.helpers.rows import MODEL, NEWER_MODEL, analysis, consensus_row, prediction, sign_off_row, stored_image
from tests.helpers.rows import SAYS_MALIGNANT as MALIGNANT
from tests.helpers.world import World, analyse_each, make_case, make_world


def _judged(world: World, version: str = MODEL.version) -> list[JudgedCase]:
    with world.sessions.read() as session:
        return store.site_calibrations.judged_cases(session, world.reader, version)


def _said(malignant: float) -> float:
    return prediction(malignant).malignant_probability


def test_a_signed_label_counts_before_a_settled_one_and_other_cases_do_not_count(sessions: Sessions) -> None:
    world = make_world(sessions, readers=2, cases=4)
    settled, both, unlabelled, _ = world.cases
    for case_id in (settled, both):
        world.read_first(world.adjudicator, case_id)
        with sessions.begin() as session:
            session.add(consensus_row(session, case_id, world.adjudicator, MALIGNANT))
    without_label = sign_off_row(unlabelled, world.reader)
    without_label.label = None
    world.add(sign_off_row(both, world.reader), without_label)
    assert _judged(world) == [JudgedCase("malignant", (_said(0.8),)), JudgedCase("benign", (_said(0.8),))]
    assert _judged(world, NEWER_MODEL.version) == []


def test_the_last_version_of_a_sign_off_counts_and_generated_cases_never_do(sessions: Sessions) -> None:
    world = make_world(sessions, cases=1)
    world.add(sign_off_row(world.case_id, world.reader))
    amended = sign_off_row(world.case_id, world.reader, version=2)
    amended.label = "malignant"
    world.add(amended)
    with sessions.begin() as session:
        generated = store.cases.add_case(session, world.reader, accession=None, magnification=None, demonstration=True)
        store.cases.add_image(session, generated, stored_image("generated"))
        two = make_case(session, world.reader, images=2)
    analyse_each(sessions, analysis(0.1), analysis(0.3), analysis(0.6))
    world.add(sign_off_row(generated, world.reader), sign_off_row(two, world.reader))
    assert _judged(world) == [
        JudgedCase("malignant", (_said(0.8),)),
        JudgedCase("benign", (_said(0.3), _said(0.6))),
    ]


def test_the_trail_names_both_versions(sessions: Sessions) -> None:
    world = make_world(sessions)
    with sessions.begin() as session:
        store.site_calibrations.record_calibration(session, world.reader, "a" * 12, "b" * 12, "30 cases")
    with sessions.read() as session:
        subjects = [row.subject for row in session.query(tables.AuditEvent).filter_by(action=Action.SITE_CALIBRATED)]
    assert subjects == [f"{'a' * 12} -> {'b' * 12}: 30 cases"]
