"""Which checkpoint is in service, and how another one gets there."""

from pathlib import Path

import pytest

from core.card import UnusableCheckpointError, checkpoint_sha256, read_card
from db import store
from db.values.audit import Action
from db.values.evaluations import RunState
from service.worker.checkpoint_in_service import find_checkpoint_in_service, list_checkpoints
from service.worker.try_checkpoint import put_into_service
from tests.helpers.networks import small_checkpoint
from tests.helpers.world import World


def finished_run(world: World, folder: Path, state: RunState = RunState.FINISHED) -> None:
    with world.sessions.begin() as session:
        store.models.finish_run(session, store.models.start_run(session, folder.name, str(folder), "{}"), state, "[]")


def test_until_one_is_put_into_service_it_is_that_of_the_settings(world: World) -> None:
    with world.sessions.read() as session:
        chosen = find_checkpoint_in_service(session, world.settings)
    assert (chosen.path, chosen.deployment) == (world.settings.checkpoint, None)
    chosen.check_unchanged("whatever it is")


def test_a_file_that_changed_since_it_was_put_into_service_is_refused(world: World, tmp_path: Path) -> None:
    with world.sessions.begin() as session:
        store.models.put_in_service(session, world.reader, str(tmp_path / "a.safetensors"), "a" * 64, "a")
        chosen = find_checkpoint_in_service(session, world.settings)
    assert chosen.path == tmp_path / "a.safetensors"
    chosen.check_unchanged("a" * 64)
    with pytest.raises(UnusableCheckpointError, match="version aaaaaaaaaaaa then, bbbbbbbbbbbb now"):
        chosen.check_unchanged("b" * 64)


def test_known_are_those_beside_the_one_of_the_settings_and_those_of_finished_runs(
    world: World, tmp_path: Path
) -> None:
    places = [tmp_path / "small.safetensors", tmp_path / "other.safetensors"]
    runs = [tmp_path / name / "checkpoint.safetensors" for name in ("finished", "failed", "removed")]
    for run in runs:
        run.parent.mkdir()
        finished_run(world, run.parent, RunState.FAILED if run.parent.name == "failed" else RunState.FINISHED)
    for path in [*places, *runs[:2]]:
        path.touch()
    with world.sessions.read() as session:
        assert list_checkpoints(session, world.settings) == [places[0], places[1], runs[0]]


@pytest.mark.slow
def test_a_checkpoint_that_loads_is_put_into_service_and_it_is_audited(world: World, tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    sha256 = small_checkpoint(path)
    put = put_into_service(world.sessions, world.settings, path, world.reader)
    with world.sessions.read() as session:
        assert store.models.in_service(session) == put
        event = store.audit.audit_trail(session)[0]
    assert (put.path, put.sha256, put.name, put.account) == (str(path), sha256, read_card(path).name, "reader")
    assert (event.action, event.subject) == (Action.MODEL_IN_SERVICE, f"{sha256[:12]} {put.name}")


@pytest.mark.slow
def test_a_checkpoint_with_half_its_weights_is_refused_with_its_reason(world: World, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    small_checkpoint(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert read_card(path).name  # its header alone looks well
    assert checkpoint_sha256(path)
    with pytest.raises(UnusableCheckpointError, match=r"half\.safetensors is damaged"):
        put_into_service(world.sessions, world.settings, path, world.reader)
    with world.sessions.read() as session:
        assert store.models.in_service(session) is None
        actions = [event.action for event in store.audit.audit_trail(session)]
    assert actions == ["explanation of the model confirmed", "account added"]


def test_a_file_that_is_no_checkpoint_is_refused_before_torch_is_loaded(world: World, tmp_path: Path) -> None:
    path = tmp_path / "text.safetensors"
    path.write_text("not a checkpoint")
    with pytest.raises(UnusableCheckpointError, match=r"text\.safetensors is not a safetensors file"):
        put_into_service(world.sessions, world.settings, path, world.reader)
