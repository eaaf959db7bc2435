"""The map trust card on the Models page: what was measured, what readers say, and what each means."""

from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.card import checkpoint_sha256, model_version
from core.settings import Settings
from core.statistics.map_trust import MapTrust
from core.statistics.resampling import Interval
from db import store
from db.values.accounts import Role
from db.values.evaluations import map_trust_files
from db.values.reading import ModelIdentity, Vote
from pages.ui.models.map_trust import draw_curves, write_findings
from service.shipped_evaluations import FoundMapTrust, read_map_trust
from tests.helpers.app_pages import sign_in, visit, words_on
from tests.helpers.map_trust import made_trust
from tests.helpers.rows import SAYS_MALIGNANT
from tests.helpers.world import CARD, PASSWORD, World, analyse_all

NOTHING_SHOWN = Interval(0.01, -0.02, 0.03)
WORSE = Interval(-0.04, -0.07, -0.02)


def checkpoint() -> tuple[Path, str]:
    path = Settings.from_environment().checkpoint
    return path, model_version(checkpoint_sha256(path))


def write(text: str, *, beside: bool = True) -> Path:
    """Write a measurement beside the checkpoint in service, or to the data folder."""
    files = map_trust_files(*checkpoint(), Settings.from_environment().evaluations)
    file = files[0 if beside else 1]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def found() -> FoundMapTrust:
    return read_map_trust(*checkpoint(), Settings.from_environment().evaluations)


def plain(tab: AppTest) -> str:
    """The words on a page without the signs of Markdown."""
    return words_on(tab).replace("\\", "").replace("**", "")


def findings(trust: MapTrust) -> list[str]:
    return [line.replace("\\", "") for line in write_findings(trust)]


def test_the_card_says_what_was_found_on_which_images_and_what_it_does_not_mean(world: World) -> None:
    write(made_trust(checkpoint()[1]).to_json())
    tab = visit("models.py")
    words = plain(tab)
    assert "Measured on 48 images of 24 patients (BreaKHis), all of whom the model was trained on." in words
    assert (
        "lower by 0.060 [0.020, 0.110] than with regions in a random order: the map marks what the model uses." in words
    )
    assert (
        "higher by 0.060 [0.020, 0.110] than with regions in a random order: the map marks what the model uses."
        in words
    )
    assert "the map depends on what the model learned" in words
    assert "one branch" in words
    assert "Nobody has voted on maps of this version" in words
    assert "It does not show where a tumour is, or that the model is right." in words
    assert len(tab.get("plotly_chart")) == 1
    assert "Not measured" not in words


def test_where_nothing_was_measured_it_says_how_to_measure_it(world: World) -> None:
    tab = visit("models.py")
    words = plain(tab)
    assert "Not measured for this version" in words
    command = f"python -m training.map_trust {checkpoint()[0].parent.name}/telltale.safetensors --data FOLDER"
    assert tab.code[0].value == command
    assert "Nobody has voted" in words
    assert not tab.get("plotly_chart")


def test_without_a_model_in_service_there_is_no_card(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOND_READ_CHECKPOINT", "/nowhere/gone.safetensors")
    assert "heat maps can be trusted" not in words_on(visit("models.py"))


def test_a_measurement_of_another_version_is_not_shown_and_the_page_says_why(world: World) -> None:
    write(made_trust("f" * 12).to_json())
    tab = visit("models.py")
    assert "it was measured with version ffffffffffff of the model" in tab.warning[0].value
    assert "Not measured for this version" in plain(tab)


def test_what_was_measured_here_comes_first_and_a_damaged_file_hides_no_other(world: World) -> None:
    version = checkpoint()[1]
    assert found() == FoundMapTrust()
    shipped = made_trust(version)
    write(shipped.to_json())
    assert found() == FoundMapTrust(shipped)
    here = replace(shipped, images=60)
    file = write(here.to_json(), beside=False)
    assert found() == FoundMapTrust(here)
    file.write_text("{}")
    assert found() == FoundMapTrust(shipped)
    write("no JSON")
    problems = found().problems
    assert [problem.split(":")[0] for problem in problems] == [
        f"{version}/map_trust.json",
        "telltale.evaluations/map_trust.json",
    ]
    assert all("not a measurement of heat maps" in problem for problem in problems)


@pytest.mark.parametrize(
    ("advantage", "words"),
    [
        (
            NOTHING_SHOWN,
            "by 0.010 [-0.020, 0.030] than with regions in a random order. The interval includes 0: **this does not",
        ),
        (
            Interval(0.05, None, None),
            "by 0.050 than with regions in a random order. There is no interval: **this does not show",
        ),
        (WORSE, "by 0.040 [0.020, 0.070] than with regions in a random order: **the map is worse than chance.**"),
    ],
)
def test_a_map_that_is_no_better_than_chance_is_said_to_be_so(advantage: Interval, words: str) -> None:
    blurred, shown, *_ = findings(made_trust(advantage=advantage))
    directions = ("higher", "lower") if advantage is WORSE else ("lower", "higher")
    assert f"on average, {directions[0]} {words}" in blurred
    assert f"on average, {directions[1]} {words}" in shown


def test_a_map_that_needs_no_learning_is_said_to_be_so() -> None:
    assert "**much of the map does not depend on what the model learned.**" in findings(made_trust(head=0.6))[2]
    assert "random maps of the same smoothness 0.140 [0.120, 0.160]" in findings(made_trust())[2]


@pytest.mark.parametrize(
    ("correlation", "words"),
    [
        (Interval(0.7, 0.6, 0.8), "they mark mostly the same regions"),
        (Interval(0.41, 0.3, 0.52), "they agree in part"),
        (Interval(0.1, -0.1, 0.3), "they do not agree, and the heat map is the sum of both"),
    ],
)
def test_branches_agree_as_far_as_their_maps_correlate(correlation: Interval, words: str) -> None:
    trust = made_trust(branches=2)
    (line,) = findings(replace(trust, branches=(replace(trust.branches[0], correlation=correlation),)))[3:]
    assert f"**{words}.**" in line
    assert "a_cnn and a_vit" in line


def test_the_curves_run_from_nothing_to_the_whole_image_and_differ_by_more_than_colour() -> None:
    trust = made_trust()
    figure = draw_curves(trust)
    drawn = {line.name: line for line in figure.data}
    assert list(drawn) == ["blurred by the map", "blurred at random", "shown by the map", "shown at random"]
    assert tuple(drawn["blurred by the map"].x) == (0, 0.5, 1)
    assert tuple(drawn["blurred by the map"].y) == trust.deletion.by_map
    assert tuple(drawn["shown at random"].y) == trust.insertion.by_random
    assert len({(line.line.dash, line.marker.symbol) for line in figure.data}) == 4


def vote(world: World, *votes: Vote) -> None:
    """Let the first reader vote on the maps of the version in service, one uploaded case for each vote."""
    version = checkpoint()[1]
    cases = [world.add_case(10 * len(votes) + seed) for seed, _ in enumerate(votes)]
    analyse_all(world.sessions, model=ModelIdentity(version, CARD.name, demonstration=True))
    for case_id, each in zip(cases, votes, strict=True):
        world.read(world.reader, case_id, replace(SAYS_MALIGNANT, vote=each))


def test_votes_are_counted_with_their_interval(world: World) -> None:
    vote(world, Vote.YES, Vote.YES, Vote.NO, Vote.UNSURE)
    words = plain(visit("models.py"))
    # Wilson's interval of 2 of 4.
    assert "Whether the map was useful: 2 yes, 1 no, 1 unsure, so 50% [15%, 85%] of 4 votes" in words
    assert "in cases that you have finished, without demo cases" in words
    vote(world, Vote.NO)
    assert "2 yes, 2 no, 1 unsure" in plain(visit("models.py")), "what was counted before is counted anew"


def test_an_administrator_sees_the_measurements_and_no_votes(
    world: World, monkeypatch: pytest.MonkeyPatch, quick_passwords: None
) -> None:
    vote(world, Vote.YES)
    write(made_trust(checkpoint()[1]).to_json())
    with world.sessions.begin() as session:
        store.accounts.add_signing_account(session, None, "office", Role.ADMINISTRATOR, PASSWORD)
    sign_in(monkeypatch, world.sessions, "office")
    words = plain(visit("models.py"))
    assert "Their votes are shown to readers and researchers." in words
    assert "1 yes" not in words
    assert "the map marks what the model uses" in words
