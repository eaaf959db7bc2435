import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.fitting.config import FitConfig, Phase, read_config, to_toml
from tests.helpers.runs.small_runs import TINY


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_without_assignments_the_file_is_taken_as_it_is(tiny: Path) -> None:
    config, text = read_config(tiny)
    assert text == TINY
    assert config == FitConfig.from_toml(tiny)


def test_dotted_keys_reach_tables_lists_and_what_the_file_leaves_out(tiny: Path) -> None:
    assignments = (
        'branches=["cnn3"]',
        "head=linear",
        "phases.0.learning_rate=0.5",
        "optimiser.kind=adam",
        "generated=",
        "seed = 3",
    )
    config, _ = read_config(tiny, assignments)
    assert (config.branches, config.head, config.seed, config.generated) == (("cnn3",), "linear", 3, None)
    assert config.phases == (Phase("all", 2, "all", 0.5),)
    assert config.optimiser.kind == "adam"


def test_a_star_reaches_every_part_of_a_list(tiny: Path) -> None:
    tiny.write_text(TINY + '[[phases]]\nname = "more"\nepochs = 9\nunfrozen = "head"\nlearning_rate = 1.0\n')
    config, _ = read_config(tiny, ("phases.*.epochs=1",))
    assert [phase.epochs for phase in config.phases] == [1, 1]


def test_the_text_of_a_changed_file_reads_as_the_same_config(tiny: Path, tmp_path: Path) -> None:
    config, text = read_config(tiny, ("phases.0.epochs=7", 'note=a "quoted" = note # 1'))
    again = tmp_path / "again.toml"
    again.write_text(text)
    assert FitConfig.from_toml(again) == config
    assert config.note == 'a "quoted" = note # 1'
    assert text.startswith("# tiny.toml with\n# --set phases.0.epochs=7\n")


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("phases.1.epochs=1", "1 parts, which count from 0"),
        ("phases.first.epochs=1", "'first' is not one of"),
        ("name.first=1", "has no parts"),
        ("epochs", "KEY=VALUE"),
        ("epochs=3", "epochs"),
        ("phases.0.epochs=many", "phases.0.epochs"),
        ("loss.gama=2", "loss.gama"),
    ],
)
def test_an_assignment_that_makes_no_sense_is_named(tiny: Path, assignment: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_config(tiny, (assignment,))


_SCALARS = (
    st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
_KEYS = st.text("abcdefghij_", min_size=1)


@settings(max_examples=60)
@given(
    st.dictionaries(
        _KEYS,
        st.recursive(
            _SCALARS | st.lists(_SCALARS),
            lambda inner: st.dictionaries(_KEYS, inner) | st.lists(st.dictionaries(_KEYS, inner), min_size=1),
            max_leaves=8,
        ),
    )
)
def test_what_is_written_as_toml_is_read_back(table: dict[str, object]) -> None:
    assert tomllib.loads(to_toml(table)) == table
