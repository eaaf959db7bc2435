import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from core.data.datasets import LabelledImage, list_breakhis, load_dataset, parse_breakhis_name
from core.data.leaks import (
    NEAR_BITS,
    Audit,
    PictureHash,
    PlacedImage,
    audit_splits,
    find_near_pairs,
    hash_picture,
    hash_pictures,
)
from core.data.published_splits import PUBLISHED_SPLITS, without_shared_patients
from tests.helpers.images.dataset_trees import SLIDES, breakhis_tree, fold_lists, idc_tree, made_picture, write_picture
from tests.helpers.images.tissue import tissue_folder
from training.audit import place_published, read_placed
from training.audit import run as audit_command
from training.runs.folder import split_rows


def named(*names: str) -> list[LabelledImage]:
    """Images of which there are only names."""
    return [image for image in (parse_breakhis_name(Path(f"SOB_{name}.png")) for name in names) if image]


def placed(**sides: list[LabelledImage]) -> list[PlacedImage]:
    return [PlacedImage(image, "split", side) for side, images in sides.items() for image in images]


def kinds(found: Audit) -> list[tuple[str, str]]:
    return [(leak.kind, leak.key) for leak in found.leaks]


def test_a_split_by_patients_is_clean() -> None:
    found = audit_splits(placed(train=named("B_A-14-1-40-001", "M_DC-14-2-40-001"), test=named("B_A-14-3-40-001")))
    assert found.clean
    assert (found.images, found.patients, found.slides, found.pictures) == (3, 3, 3, 0)
    assert found.conflicts == ()


def test_a_slide_on_both_sides_is_found() -> None:
    found = audit_splits(placed(train=named("B_A-14-1AB-40-001"), test=named("B_A-14-1AB-40-002", "B_A-14-3-40-001")))
    assert kinds(found) == [("slide", "14-1AB")]
    assert [member.side for member in found.leaks[0].members] == ["test", "train"]
    assert not found.clean


def test_of_many_files_of_a_leak_the_first_three_are_named() -> None:
    many = named(*(f"B_A-14-1-40-00{number}" for number in (4, 2, 3, 1)))
    member = audit_splits(placed(train=many, test=named("B_A-14-1-40-005"))).leaks[0].members[1]
    assert (member.side, member.images) == ("train", 4)
    assert member.files == tuple(f"SOB_B_A-14-1-40-00{number}.png" for number in (1, 2, 3))


def test_a_number_under_other_letters_is_found_and_told_apart() -> None:
    found = audit_splits(placed(train=named("B_TA-14-16184-40-001"), test=named("B_TA-14-16184CD-40-001")))
    assert kinds(found) == [("patient", "16184")]


def test_13412_is_a_conflict_and_a_leak_from_its_names_alone() -> None:
    images = named("M_DC-14-13412-100-001", "M_LC-14-13412-100-001")
    found = audit_splits(placed(train=images[:1], validation=images[1:]))
    assert kinds(found) == [("slide", "14-13412")]
    assert [(c.kind, c.key, c.contradictory) for c in found.conflicts] == [("slide", "14-13412", True)]
    together = audit_splits(placed(train=images))
    assert together.leaks == ()
    assert not together.clean  # one of its labels is wrong on whichever side it lies


def test_two_subtypes_of_one_number_on_other_slides_are_told_and_are_no_contradiction() -> None:
    images = named("B_PT-14-21998AB-40-001", "B_F-14-21998CD-40-001", "B_A-14-29960CD-40-001", "B_F-14-29960AB-40-001")
    found = audit_splits(placed(train=images))
    assert [(c.kind, c.key, c.contradictory) for c in found.conflicts] == [
        ("patient", "21998", False),
        ("patient", "29960", False),
    ]
    assert found.clean


def test_idc_patients_have_patches_of_both_classes_as_a_matter_of_course(tmp_path: Path) -> None:
    found = audit_splits([PlacedImage(image) for image in load_dataset("idc", idc_tree(tmp_path))])
    assert found.conflicts == ()
    assert found.slides == 0


def test_every_split_is_judged_on_its_own() -> None:
    first, second = named("B_A-14-1-40-001", "B_A-14-1-40-002")
    sides = [("fold 1", "train", "train"), ("fold 2", "train", "test")]
    found = audit_splits(
        [PlacedImage(i, split, s) for split, *both in sides for i, s in zip((first, second), both, strict=True)]
    )
    assert [leak.split for leak in found.leaks] == ["fold 2"]
    assert [(c.split, c.side, c.images) for c in found.counts] == [
        ("", "", 2),
        ("fold 1", "train", 2),
        ("fold 2", "test", 1),
        ("fold 2", "train", 1),
    ]


def hashes(*images: tuple[LabelledImage, str, int | None]) -> Mapping[Path, PictureHash | str]:
    return {image.path: PictureHash(pixels, outline) for image, pixels, outline in images}


def test_one_picture_of_two_patients_is_found_across_sides() -> None:
    a, b, c = named("B_A-14-1-40-001", "B_A-14-2-40-001", "B_A-14-3-40-001")
    seen = hashes((a, "same", 0), (b, "same", 0), (c, "other", 2**60 - 1))
    assert [kind for kind, _ in kinds(audit_splits(placed(train=[a], test=[b, c]), seen))] == ["identical picture"]
    assert audit_splits(placed(train=[a, b], test=[c]), seen).clean
    assert [leak.split for leak in audit_splits([PlacedImage(a), PlacedImage(b), PlacedImage(c)], seen).leaks] == [
        "patient by patient"
    ]


@pytest.mark.parametrize(("bits", "leaks"), [(6, ["near-identical picture"]), (7, [])])
def test_a_nearly_equal_picture_is_found_up_to_the_limit(bits: int, leaks: list[str]) -> None:
    a, b = named("B_A-14-1-40-001", "B_A-14-2-40-001")
    found = audit_splits(placed(train=[a], test=[b]), hashes((a, "a", 0), (b, "b", 2**bits - 1)))
    assert [leak.kind for leak in found.leaks] == leaks


def test_equal_pictures_with_two_labels_contradict_each_other() -> None:
    a, b, c = named("B_A-14-1-40-001", "B_F-14-1CD-40-001", "B_A-14-1-40-002")
    found = audit_splits(
        [PlacedImage(a), PlacedImage(b), PlacedImage(c)], hashes((a, "x", 5), (b, "x", 5), (c, "y", 7))
    )
    told = [(conflict.kind, conflict.contradictory) for conflict in found.conflicts]
    assert told == [("patient", False), ("identical picture", True), ("near-identical picture", True)]
    assert found.leaks == ()
    assert not found.clean


@pytest.mark.parametrize("bits", [0, 1, 6, 12])
def test_near_pairs_are_those_of_a_plain_comparison_of_all(bits: int) -> None:
    rng = np.random.default_rng(3)
    values = [int(v) for v in rng.integers(0, 2**63, 60)]
    values += [v ^ sum(1 << int(b) for b in rng.choice(64, k, replace=False)) for k, v in enumerate(values[:20])]
    values += values[:2]
    expected = [
        (i, j, (values[i] ^ values[j]).bit_count())
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if (values[i] ^ values[j]).bit_count() <= bits
    ]
    assert find_near_pairs(values, bits) == expected
    assert len(expected) > bits
    assert find_near_pairs([]) == []


def test_a_picture_is_known_again_in_another_format_and_nearly_after_jpeg(tmp_path: Path) -> None:
    picture = made_picture(1, 115)
    png, tiff = write_picture(tmp_path / "a.png", picture), write_picture(tmp_path / "a.tif", picture)
    jpeg, other = write_picture(tmp_path / "a.jpg", picture), write_picture(tmp_path / "b.png", made_picture(2, 115))
    assert hash_picture(png) == hash_picture(tiff)
    assert hash_picture(jpeg).pixels != hash_picture(png).pixels

    def distance(path: Path) -> int:
        found, first = hash_picture(path).outline, hash_picture(png).outline
        assert found is not None
        assert first is not None
        return (found ^ first).bit_count()

    assert distance(jpeg) <= NEAR_BITS < distance(other)


def test_a_patch_is_too_small_for_an_outline_and_an_unreadable_file_is_told(tmp_path: Path) -> None:
    small, enough = (write_picture(tmp_path / f"{s}.png", made_picture(1, s, s)) for s in (63, 64))
    broken = tmp_path / "broken.png"
    broken.write_bytes(small.read_bytes()[:90])
    ticks: list[tuple[int, int]] = []
    found = hash_pictures([small, enough, broken, tmp_path / "absent.png"], lambda *tick: ticks.append(tick))
    assert [isinstance(h, PictureHash) and h.outline is not None for h in found.values()] == [False, True, False, False]
    assert isinstance(found[broken], str)
    assert ticks[-1] == (4, 4)
    image = LabelledImage(broken, "benign", "1", "", "binary")
    assert "broken.png" in audit_splits([PlacedImage(image)], {broken: found[broken]}).unreadable[0]


def invoke(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(audit_command)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_finds_13412_by_its_pictures_in_the_tree(tmp_path: Path) -> None:
    result = invoke(breakhis_tree(tmp_path, each=2), "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["images"], told["pictures"], told["slides"]) == (4 * len(SLIDES), 4 * len(SLIDES), len(SLIDES))
    pictures = [c for c in told["conflicts"] if c["kind"] == "identical picture"]
    assert len(pictures) == 4
    assert {member["slide_id"] for c in pictures for member in c["members"]} == {"14-13412"}
    assert told["leaks"] == []
    assert told["shortfall"][0] == "images: 80 of 7,909, 7,829 missing"
    assert sum(count["images"] for count in told["counts"]) == told["images"]


def test_the_command_reads_lists_without_pictures_and_with_them(tmp_path: Path) -> None:
    images = list_breakhis(breakhis_tree(tmp_path / "tree"))
    sides = {i.path.name: "test" if "LC-14-13412" in i.path.name else "train" for i in images}
    lists = fold_lists(tmp_path / "lists", {1: sides})
    result = invoke(lists)
    assert result.exit_code == 1
    assert "only names compared" in result.stdout
    assert "fold 1, 14-13412: test: lobular_carcinoma" in result.stdout
    assert "Leaks: 1 (1 by slide). Contradictory labels: 1." in result.stdout
    seen = invoke(lists, "--images", tmp_path / "tree")
    assert "40 pictures compared" in seen.stdout
    assert "Leaks: 3 (1 by slide, 2 by identical picture). Contradictory labels: 3." in seen.stdout


def test_the_command_takes_train_and_test_folders_for_sides(tmp_path: Path) -> None:
    for side, seed, name in (
        ("train", 1, "B_A-14-1-40-001"),
        ("val", 2, "B_A-14-2-40-001"),
        ("test", 1, "M_DC-14-3-40-001"),
    ):
        write_picture(tmp_path / "fold1" / side / f"SOB_{name}.png", made_picture(seed, 115))
    told = json.loads(invoke(tmp_path, "--json").stdout)
    assert [(leak["split"], leak["kind"]) for leak in told["leaks"]] == [("fold1", "identical picture")]
    assert {member["side"] for member in told["leaks"][0]["members"]} == {"train", "test"}
    names_only = invoke(tmp_path, "--no-pictures")
    assert names_only.exit_code == 0
    assert "No leaks and no contradictory labels (pictures were not compared)." in names_only.stdout


def test_the_command_reads_the_split_of_a_run(tmp_path: Path) -> None:
    images = [image for image in list_breakhis(breakhis_tree(tmp_path / "tree")) if image.patient_id != "13412"]
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    good = [(image, "test" if image.patient_id in ("2523", "16184") else "train") for image in images]
    (run / "split.csv").write_bytes(split_rows(good, tmp_path / "tree"))
    assert invoke(run).exit_code == 0
    bad = [(image, "test" if image.slide_id == "14-16184" else "train") for image in images]
    (run / "split.csv").write_bytes(split_rows(bad, tmp_path / "tree"))
    result = invoke(run / "split.csv")
    assert result.exit_code == 1
    assert "one, 16184: test: tubular_adenoma 14-16184 (2 images)" in result.stdout


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\nb\n", "neither a list of folds nor"),
        ("filename,fold,split\na.png,1,test\n", "1 files that are not named as in BreaKHis, such as a.png"),
        (
            "file,patient_id,label,split_or_fold\na.png,1,benign,1\na.png,1,benign,2\n",
            "pass the lists of these folds instead",
        ),
    ],
)
def test_a_table_that_cannot_be_audited_is_refused_with_the_reason(tmp_path: Path, text: str, said: str) -> None:
    table = tmp_path / "table.csv"
    table.write_text(text)
    result = invoke(table)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_folder_that_is_absent_or_empty_is_refused_with_the_reason(tmp_path: Path) -> None:
    for folder, said in ((tmp_path / "absent", "there is no"), (tmp_path, "no PNG images")):
        result = invoke(folder)
        assert result.exit_code == 2
        assert said in result.stderr


def labelled(root: Path, *rows: str) -> Path:
    """A folder of different pictures with a table; a row is a file, a label and a patient."""
    for number, row in enumerate(rows):
        write_picture(root / row.split(",")[0], made_picture(number, 64))
    (root / "labels.csv").write_text("\n".join(["file,label,patient_id", *rows]), encoding="utf-8")
    return root


_SPLIT = "file,patient_id,label,split_or_fold\n"


def split_table(folder: Path, *rows: str) -> Path:
    (folder / "split.csv").write_text(_SPLIT + "\n".join(rows))
    return folder / "split.csv"


@pytest.mark.parametrize(("one", "other"), [("a.png", "./a.png"), ("s/a.png", "s\\a.png"), ("a.png", " a.png ")])
def test_a_file_on_two_sides_under_two_names_is_not_one_image(tmp_path: Path, one: str, other: str) -> None:
    result = invoke(split_table(tmp_path, f"{one},1,benign,train", f'"{other}",2,malignant,test'))
    assert result.exit_code == 2
    assert "lists a file more than once" in result.stderr


def test_sides_of_a_split_are_read_as_people_type_them(tmp_path: Path) -> None:
    table = split_table(tmp_path, "a.png,1,benign,train", "b.png,1,benign,Train ", "c.png,2,malignant,TEST")
    assert invoke(table).exit_code == 0


def test_a_split_whose_patients_a_spreadsheet_has_shortened_is_refused(tmp_path: Path) -> None:
    result = invoke(split_table(tmp_path, "a.png,1.2E+11,benign,train", "b.png,1.2E+11,malignant,test"))
    assert result.exit_code == 2
    assert "line 2, column patient_id: '1.2E+11' is a number that a spreadsheet has shortened" in result.stderr


def test_the_command_tells_which_spellings_it_took_as_one_patient(tmp_path: Path) -> None:
    rows = ("train/a.png,benign,P1", "test/b.png,benign,P1 ", "test/c.png,malignant,p2", "test/d.png,malignant,P2")
    result = invoke(labelled(tmp_path, *rows), "--dataset", "folder")
    assert result.exit_code == 1  # P1 is on both sides
    assert "4 images of 2 patients" in result.stdout
    assert "Patients spelled in several ways, treated as one (2)" in result.stdout
    assert "'P1 ' and 'P1'" in result.stdout
    told = json.loads(invoke(tmp_path, "--dataset", "folder", "--json").stdout)
    assert told["merged"] == ["'P1 ' and 'P1'", "'p2' and 'P2'"]
    assert [(leak["kind"], leak["key"]) for leak in told["leaks"]] == [("slide", "P1")]


def test_the_command_finds_patients_that_are_written_almost_alike(tmp_path: Path) -> None:
    patients = ("Meier", "Meyer", "P-01", "P01", "O17", "017", "X1", "X001", "22549", "22594", "Z")
    rows = [f"{n}.png,{'benign' if n % 2 else 'malignant'},{patient}" for n, patient in enumerate(patients)]
    result = invoke(labelled(tmp_path, *rows), "--dataset", "folder")
    assert result.exit_code == 0  # they may well be different people
    assert "Patients written almost alike: are they the same? (5)" in result.stdout
    for pair in (
        "'Meier' and 'Meyer'",
        "'P-01' and 'P01'",
        "'017' and 'O17'",
        "'X001' and 'X1'",
        "'22549' and '22594'",
    ):
        assert pair in result.stdout


def test_the_command_finds_patients_with_equal_numbers(tmp_path: Path) -> None:
    patients = ("741", '"741,0"', "'852", "852", "\u0669\u0666", "96", "X")
    rows = [f"{n}.png,{'benign' if n % 2 else 'malignant'},{patient}" for n, patient in enumerate(patients)]
    result = invoke(labelled(tmp_path, *rows), "--dataset", "folder")
    assert "Patients written almost alike: are they the same? (3)" in result.stdout
    assert "'741' and '741,0'" in result.stdout


def test_numbered_patients_are_not_taken_for_one_another(tmp_path: Path) -> None:
    rows = [f"{n}.png,{'benign' if n % 2 else 'malignant'},P{n:02}" for n in range(1, 13)]
    result = invoke(labelled(tmp_path, *rows), "--dataset", "folder")
    assert "almost alike" not in result.stdout
    assert "42 pairs of patients differ by one digit only, as numbered patients do" in result.stdout


def test_the_command_counts_and_names_what_is_left_out_and_exits_with_1(tmp_path: Path) -> None:
    root = labelled(tmp_path, "a.png,benign,P1", "b.png,malignant,P2")
    assert invoke(root, "--dataset", "folder").exit_code == 0
    (root / "c.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(200))
    result = invoke(root, "--dataset", "folder")
    assert result.exit_code == 1
    assert "2 pictures compared; 1 picture left out" in result.stdout
    assert "c.HEIC: it is a HEIC or AVIF picture, which is not supported" in result.stdout
    told = json.loads(invoke(root, "--dataset", "folder", "--json").stdout)
    assert told["left_out"] == [{"file": "c.HEIC", "reason": "it is a HEIC or AVIF picture, which is not supported"}]


@pytest.mark.parametrize("word", ["[red]", "[/red]", "[link=https://example.org]", "[bold", ":warning:", "[/]"])
def test_names_are_shown_as_they_are(tmp_path: Path, word: str) -> None:
    root = tmp_path / f"set {word.replace('/', '')}"
    name = f"{word.replace('/', '')}.png"
    labelled(root, f"{name},benign,{word}1", f"b.png,malignant,{word}1", f"c.png,benign,{word}I", "d.png,malignant,X")
    (root / f"left{name}").write_bytes(b"GIF89a" + bytes(200))
    result = invoke(root, "--dataset", "folder")
    assert result.exit_code == 1
    assert f"'{word}1' and '{word}I'" in result.stdout
    assert f"left{name}: it is a GIF" in result.stdout
    (root / name).unlink()
    refused = invoke(root, "--dataset", "folder")
    assert refused.exit_code == 2
    assert f"in {root}/labels.csv do not exist: {name} (line 2)" in refused.stderr


@pytest.mark.data
def test_the_real_official_folds_leak_34_times_and_13412_in_three_of_five(shared_data: Path) -> None:
    result = invoke(shared_data / "breakhis" / "official_folds.csv", "--json")
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert (told["images"], told["patients"], told["slides"]) == (7909, 70, 82)
    slides = [(leak["split"], leak["key"]) for leak in told["leaks"] if leak["kind"] == "slide"]
    assert slides == [(f"fold {number}", "14-13412") for number in (1, 3, 5)]
    assert len(told["leaks"]) == 34
    named_conflicts = [(conflict["kind"], conflict["key"]) for conflict in told["conflicts"]]
    assert named_conflicts == [("slide", "14-13412"), ("patient", "21998"), ("patient", "29960")]
    assert told["shortfall"] == []


@pytest.mark.data
def test_the_real_subset_has_no_picture_of_two_patients(shared_data: Path) -> None:
    images = list_breakhis(shared_data / "breakhis")
    found = audit_splits([PlacedImage(i) for i in images], hash_pictures([i.path for i in images]))
    assert found.leaks == ()
    assert found.pictures == 240
    assert [conflict.key for conflict in found.conflicts] == ["14-13412", "21998"]


@pytest.mark.data
def test_the_published_splits_of_two_benchmarks_share_four_accessions(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = shared_data / "breakhis" / "official_folds.csv"
    everything = read_placed(lists, "breakhis", None)
    for name, held_out in (("eva", "validation"), ("thunder", "test")):
        split = place_published(everything, name)  # type: ignore[arg-type]
        sides = Counter(one.side for one in split)
        assert sides == {"train": 1132, held_out: 339}, "the counts that both publish"
        assert [leak.key for leak in audit_splits(split).leaks] == ["16184", "18842", "19979", "23060"]
    with pytest.raises(typer.Exit) as stopped:
        audit_command(lists, published="eva", pictures=False)
    assert stopped.value.exit_code == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "eva: train 1,132 images, validation 339 images" in printed
    assert "1,038 of 1,132 training images" in printed


def test_a_corrected_split_keeps_the_published_images_and_loses_the_shared_patients() -> None:
    names = ("B_F-14-23060AB-40-001", "B_F-14-23060CD-40-001", "M_MC-14-9999-40-001", "M_PC-14-18842D-40-001")
    split = PUBLISHED_SPLITS["eva"].place([*named(*names), *named("B_F-14-23060CD-100-001")])
    assert [(one.image.slide_id, one.side) for one in split] == [
        ("14-23060AB", "train"),
        ("14-23060CD", "validation"),
        ("14-9999", "train"),
    ]
    corrected = without_shared_patients(split)
    assert [one.image.slide_id for one in corrected] == ["14-23060CD", "14-9999"]
    assert audit_splits(corrected).clean
    assert not audit_splits(split).clean


def test_a_published_split_needs_images_that_it_uses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    idc_tree(tmp_path)
    with pytest.raises(typer.Exit) as stopped:
        audit_command(tmp_path, "idc", published="eva", pictures=False)
    assert stopped.value.exit_code == 2
    assert "uses images of BreaKHis at 40X" in " ".join(capsys.readouterr().err.split())


def test_a_dataset_in_two_folders_is_audited_as_one(tmp_path: Path) -> None:
    first = tissue_folder(tmp_path / "first", patients=4)
    tissue_folder(tmp_path / "second", patients=2)
    result = invoke(tmp_path / "first", "--more", tmp_path / "second", "--json")
    told = json.loads(result.stdout)
    assert (told["images"], told["patients"], told["pictures"]) == (len(first) + 4, 4, len(first) + 4)
    assert told["left_out"] == []
