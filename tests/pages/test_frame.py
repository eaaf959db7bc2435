"""What stands on every page, and which modules a page may pull in."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.app_pages import visit, words_on
from tests.helpers.world import World

TITLES = {
    "worklist.py": "Worklist",
    "upload_cases.py": "Upload cases",
    "read_case.py": "Read a case",
    "agreement.py": "Agreement",
    "evaluation.py": "Evaluation",
    "domain_shift.py": "Domain shift",
    "models.py": "Models",
    "meet_model.py": "Meet the model",
    "studies.py": "Studies",
    "audit.py": "Audit trail",
}


@pytest.mark.parametrize("page", TITLES)
def test_every_page_says_what_it_must_not_be_used_for(world: World, page: str) -> None:
    words = words_on(visit(page))
    assert "Research use only" in words
    assert "single-reader mode" in words
    assert "demonstration model" in words


@pytest.mark.parametrize(("page", "title"), TITLES.items())
def test_every_page_has_one_title(world: World, page: str, title: str) -> None:
    assert [each.value for each in visit(page).title] == [title]


def test_a_missing_checkpoint_is_said_on_every_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECOND_READ_CHECKPOINT", "/nowhere/gone.safetensors")
    tab = visit("worklist.py")
    assert "cannot be analysed" in tab.warning[0].value
    assert "gone.safetensors" in tab.warning[0].value


def test_pages_load_no_torch() -> None:
    project = Path(__file__).resolve().parents[2]
    code = (
        "import sys, pages.ui.resources, pages.ui.reading.forms, pages.ui.reading.tissue, pages.ui.upload_cases.batch\n"
        "print(sorted({'torch', 'timm', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=project, check=True, timeout=120, stdout=subprocess.PIPE)
    assert done.stdout.strip() == b"[]"
