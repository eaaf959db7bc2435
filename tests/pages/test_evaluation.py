"""The page of stored evaluations, down to the single image."""

import re
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from core.labels import BACH, BINARY, BREAKHIS, LabelSet
from core.statistics.cautions import Caution, ImageLeftOut
from core.statistics.evaluation import AblationRow, Evaluation
from db import store
from db.values.evaluations import NewEvaluation
from tests.helpers.app_pages import visit, words_on
from tests.helpers.evaluations import add_evaluation, made_evaluation, made_images
from tests.helpers.world import World

HOSTILE = '<img src=x onerror="alert(1)"> [click](https://evil.example) $x$ :red[y] `z`'
CELLS = "Images of a cell: click the cell or choose here"


def store_one(world: World, label_set: LabelSet = BINARY, found: Evaluation | None = None) -> Evaluation:
    found = found or made_evaluation(label_set)
    add_evaluation(world.sessions, found, made_images(label_set, world.files))
    return found


def choose(tab: AppTest, label: str, option: str) -> AppTest:
    box = next(box for box in tab.selectbox if box.label == label)
    box.select(next(each for each in box.options if each.startswith(option))).run()
    assert not tab.exception, tab.exception
    return tab


def turn_to(tab: AppTest, view: str) -> AppTest:
    return press(tab, "View", view)


def press(tab: AppTest, group: str, option: str) -> AppTest:
    next(each for each in tab.button_group if each.label == group).set_value(option).run()
    assert not tab.exception, tab.exception
    return tab


def names_shown(tab: AppTest) -> list[str]:
    return re.findall(r"\d{3}\.png", " ".join(each.value for each in tab.markdown))


def pictures(tab: AppTest) -> list[str]:
    return [image.value[0] for image in tab.image]


def test_without_an_evaluation_the_command_that_makes_one_is_told(world: World) -> None:
    tab = visit("evaluation.py")
    assert "python -m training.evaluate models/starter.safetensors" in tab.code[0].value
    assert not tab.selectbox


def test_the_main_figures_stand_with_interval_protocol_and_warnings(world: World) -> None:
    found = store_one(world)
    tab = visit("evaluation.py")
    auc = found.figure("AUC")
    assert auc is not None
    assert f"**{auc.value:.3f}** \\[{auc.low:.3f},\N{NO-BREAK SPACE}{auc.high:.3f}\\]" in str(
        tab.table[0].value["AUC"][0]
    )
    assert list(tab.table[0].value.columns) == ["AUC", "Patient recognition rate", "Sensitivity", "Specificity"]
    captions = " ".join(caption.value for caption in tab.caption)
    assert "60 images of 12 patients; patient-wise, test patients of a run" in captions
    assert "Malignant threshold 0.40, locked on validation, 11 patients" in captions
    assert "2 of 12 patients were trained on\\: these figures flatter" in tab.warning[0].value


def test_a_threshold_that_nobody_says_was_locked_is_said(world: World) -> None:
    store_one(world, found=replace(made_evaluation(BINARY), locked_on=""))
    assert "Source of the threshold not recorded" in words_on(visit("evaluation.py"))


def test_a_cell_of_the_list_opens_its_images_worst_first(world: World) -> None:
    store_one(world)
    tab = choose(visit("evaluation.py"), CELLS, "truth malignant, predicted benign")
    missed = [i for i in made_images(BINARY) if i.malignant and not i.called_malignant]
    missed.sort(key=lambda image: image.malignant_probability)
    assert names_shown(tab) == [image.name.removeprefix("slides/") for image in missed][:12]
    words = words_on(tab)
    assert f"**truth malignant, predicted benign ({len(missed)})**" in " ".join(m.value for m in tab.markdown)
    assert f"malignant {missed[0].malignant_probability:.3f}" in words
    assert "✗ wrong, predicted benign" in words


def test_the_heat_map_can_be_taken_away(world: World) -> None:
    store_one(world)
    tab = choose(visit("evaluation.py"), CELLS, "truth malignant, predicted benign")
    with_maps = pictures(tab)
    tab.toggle(key="evaluation-maps").set_value(False).run()
    without = pictures(tab)
    assert len(with_maps) == len(without) > 0
    assert not set(with_maps) & set(without)


def test_more_images_than_fit_are_paged(world: World) -> None:
    store_one(world)
    tab = turn_to(visit("evaluation.py"), "Images")
    assert len(names_shown(tab)) == 12
    [pages] = tab.get("pagination")
    assert pages.proto.num_pages == 5


def test_images_narrow_to_one_patient_and_magnification(world: World) -> None:
    store_one(world)
    tab = choose(turn_to(visit("evaluation.py"), "Images"), "Patient", "patient 0003")
    mine = [i for i in made_images(BINARY) if i.patient_id == "patient 0003"]
    assert sorted(names_shown(tab)) == sorted(i.name.removeprefix("slides/") for i in mine)
    tab = choose(tab, "Magnification", mine[0].magnification)
    count = len([i for i in mine if i.magnification == mine[0].magnification])
    assert len(names_shown(tab)) == count
    told = f"all images (60), patient patient 0003, {mine[0].magnification}\\: {count} of these"
    assert told in " ".join(each.value for each in tab.markdown)


@pytest.mark.parametrize("label_set", [BREAKHIS, BACH])
def test_the_matrix_of_all_classes_opens_their_images(world: World, label_set: LabelSet) -> None:
    store_one(world, label_set)
    tab = press(visit("evaluation.py"), "Matrix of", "classes")
    confused = next(i for i in made_images(label_set) if i.label != i.predicted and i.malignant == i.called_malignant)
    label, predicted = (word.replace("_", " ") for word in (confused.label, confused.predicted))
    tab = choose(tab, CELLS, f"truth {label}, predicted {predicted} (")
    alike = [i for i in made_images(label_set) if (i.label, i.predicted) == (confused.label, confused.predicted)]
    assert sorted(names_shown(tab)) == sorted(i.name.removeprefix("slides/") for i in alike)
    assert f"✗ wrong, predicted {predicted}" in words_on(tab)


def test_who_holds_the_errors_is_listed_from_the_top(world: World) -> None:
    found = store_one(world)
    tab = turn_to(visit("evaluation.py"), "Patients")
    table = next(frame.value for frame in tab.dataframe if "Wrong" in frame.value)
    assert list(table["Wrong"]) == sorted(table["Wrong"], reverse=True)
    assert sum(table["Wrong"]) == sum(group.wrong for group in found.groups if group.kind == "patient")


def test_two_models_on_the_same_images_stand_with_their_paired_difference(world: World) -> None:
    store_one(world)
    other = [replace(i, malignant_probability=i.position % 60 / 60) for i in made_images(BINARY, world.files)]
    add_evaluation(world.sessions, replace(made_evaluation(BINARY), model_name="another"), other)
    tab = choose(visit("evaluation.py"), "Compare with", "telltale")
    words = words_on(tab)
    assert "AUC of another 3f9a1c22b0e4 minus AUC of telltale 3f9a1c22b0e4, on the same 60 images" in words
    assert "by resampling patients" in words
    assert "Accuracy of benign against malignant, each at its own locked threshold" in words
    assert "by the McNemar test, which treats images of one patient as independent" in words
    assert len(tab.table[0].value) == 2
    assert len(tab.get("plotly_chart")) == 3


def test_models_judged_on_other_images_are_not_compared(world: World) -> None:
    store_one(world)
    strangers = [replace(i, name=f"other {i.name}") for i in made_images(BINARY)]
    add_evaluation(world.sessions, replace(made_evaluation(BINARY), model_name="another"), strangers)
    tab = choose(visit("evaluation.py"), "Compare with", "telltale")
    assert tab.info[0].value == "The models cannot be compared image by image: the evaluations have no image in common."


@pytest.mark.parametrize("view", ["Curves", "Images", "Patients", "Groups"])
def test_names_from_files_and_cards_cannot_act(world: World, view: str) -> None:
    images = [
        replace(i, name=f"a/{HOSTILE}{i.position}", label=HOSTILE, predicted=HOSTILE, patient_id=HOSTILE)
        for i in made_images(BINARY, world.files)
    ]
    found = replace(
        made_evaluation(BINARY),
        model_name=HOSTILE,
        dataset=HOSTILE,
        split=HOSTILE,
        protocol=HOSTILE,
        locked_on=HOSTILE,
        warnings=(Caution("trained on", HOSTILE, HOSTILE), Caution("unclassified", "", HOSTILE)),
        excluded=(ImageLeftOut(HOSTILE, HOSTILE),),
    )
    add_evaluation(world.sessions, found, images)
    add_evaluation(world.sessions, found, images)
    tab = turn_to(visit("evaluation.py"), view)
    box = next(box for box in tab.selectbox if box.label == "Compare with")
    box.select(box.options[0]).run()
    assert not tab.exception, tab.exception
    read_as_markdown = [*tab.markdown, *tab.caption, *tab.warning, *tab.error, *tab.info]
    labels = [each.label for each in (*tab.expander, *tab.get("download_button"))]
    cells = [str(cell) for table in tab.table for cell in [*table.value.columns, *table.value.to_numpy().flat]]
    for words in (*(each.value for each in read_as_markdown), *labels, *cells):
        assert not re.search(r"(?<!\\)(<img|\[click\]|\$x|:red|`z)", words), words
        assert "https://" not in words.replace("\\", ""), "an address becomes a link however it is escaped"
    assert all("<img" not in chart.proto.spec for chart in tab.get("plotly_chart"))


def test_a_damaged_preview_is_said_and_the_others_are_drawn(world: World) -> None:
    missing = "0" * 64
    images = made_images(BINARY, world.files)
    images[0] = replace(images[0], preview_sha256=missing)
    images[1] = replace(images[1], heatmap_sha256=missing)
    images[2] = replace(images[2], heatmap_sha256=world.files.put(b"no image"))
    images[3] = replace(images[3], preview_sha256=None, heatmap_sha256=None)
    images[4] = replace(images[4], heatmap_sha256=None)
    add_evaluation(world.sessions, made_evaluation(BINARY), images[:6])
    tab = turn_to(visit("evaluation.py"), "Images")
    words = words_on(tab)
    assert words.count("the stored file 000000000000 is missing") == 2
    assert "are not a preview image" in words
    assert "no preview stored" in words
    assert words.count("no heat map stored") == 1
    assert len(pictures(tab)) == 2


def test_an_evaluation_that_cannot_be_read_is_said(world: World) -> None:
    with world.sessions.begin() as session:
        store.evaluations.add_evaluation(
            session, NewEvaluation("old", "0" * 12, "breakhis", "test", "x", '{"of": "before"}'), []
        )
    tab = visit("evaluation.py")
    assert "cannot be read" in tab.error[0].value
    assert "training.evaluate" in tab.error[0].value


def test_published_rows_stand_beside_ours_and_say_whether_they_leak(world: World) -> None:
    found = store_one(world)
    table = next(table.value for table in visit("evaluation.py").table if "Published" in table.value)
    ours = table["telltale 3f9a1c22b0e4"]
    auc = found.figure("AUC")
    assert auc is not None
    assert ours[list(table["Figure"]).index("AUC")].startswith(f"{auc.value:.3f} ")
    leaks = " ".join(table["Patient leak"])
    assert "✗ leaks: images of one patient are on both sides" in leaks
    assert "✓ no leak found" in leaks
    assert "? unknown" in leaks


def published_table(tab: AppTest) -> dict[str, list[str]]:
    """Return the columns of the table of published results."""
    table = next(table.value for table in tab.table if "Published" in table.value)
    return {str(name): list(table[name]) for name in table}


def test_only_published_figures_of_the_same_task_and_images_are_shown_at_first(world: World) -> None:
    store_one(world)
    tab = visit("evaluation.py")
    shown = published_table(tab)
    assert "AUC, validation" not in shown["Figure"]
    assert not {"micro F1", "macro recall", "class accuracy"} & set(shown["Figure"])
    assert "–" not in shown["telltale 3f9a1c22b0e4"]
    assert "Not comparable" not in shown
    tab.toggle(key="published-all").set_value(True).run()
    everything = published_table(tab)
    reasons = dict(zip(everything["Figure"], everything["Not comparable"], strict=True))
    assert reasons["AUC, validation"] == "measured on validation images"
    assert reasons["micro F1"] == "another task: eight subtypes"
    assert len(everything["Figure"]) > len(shown["Figure"])


def test_published_rows_without_leaks_come_first_and_equal_protocols_stand_together(world: World) -> None:
    store_one(world)
    shown = published_table(visit("evaluation.py"))
    rows = [
        (leak[0], protocol)
        for leak, protocol in zip(shown["Patient leak"], shown["Published protocol"], strict=True)
        if leak
    ]
    assert {mark for mark, _ in rows} == {"✓", "?", "✗"}
    assert rows == sorted(rows, key=lambda row: ("✓?✗".index(row[0]), row[1].casefold()))


def test_published_rows_are_grouped_by_whether_patients_leaked(world: World) -> None:
    store_one(world)
    shown = published_table(visit("evaluation.py"))
    headings = [words for words in shown["Patients"] if words]
    assert headings == ["**✓ no leak found**", "**? unknown**", "**✗ leaks**"]
    assert shown["Patients"][0] == headings[0]
    marks = {"✓": headings[0], "?": headings[1], "✗": headings[2]}
    heading = ""
    for words, leak in zip(shown["Patients"], shown["Patient leak"], strict=True):
        heading = words or heading
        assert not leak or marks[leak[0]] == heading


def test_figures_of_one_magnification_are_not_put_beside_those_of_all(world: World) -> None:
    found = made_evaluation(BINARY)
    one = tuple(group for group in found.groups if group.kind != "magnification" or group.name == "100X")
    store_one(world, found=replace(found, groups=one))
    shown = published_table(visit("evaluation.py"))
    assert set(shown["Figure"]) == {"patient recognition rate, 100X"}


def test_another_dataset_has_no_published_row(world: World) -> None:
    store_one(world, found=replace(made_evaluation(BINARY), dataset="idc"))
    assert "No published results are listed for this dataset" in words_on(visit("evaluation.py"))


def test_the_ablation_and_what_was_left_out_are_told(world: World) -> None:
    auc = made_evaluation(BINARY).figures[2]
    rows = (AblationRow("8", "none", False, 60, auc, None), AblationRow("none", "Reinhard", True, 55, auc, auc))
    add_evaluation(world.sessions, replace(made_evaluation(BINARY), ablation=rows), made_images(BINARY))
    tab = visit("evaluation.py")
    table = next(table.value for table in tab.table if "Stain" in table.value)
    own, other = table["Paired change"]
    assert own == "settings of the card"
    assert other.startswith(f"{auc.value:+.3f}")
    assert "benign/blank.png: there is no tissue in this image" in words_on(tab)
    assert "slides/000.png: only the first of 2 pages is used" in words_on(tab)


def test_the_locked_abstention_is_told_beside_its_curve(world: World) -> None:
    found = store_one(world)
    assert found.abstention is not None
    tab = press(visit("evaluation.py"), "Curve", "risk_coverage")
    assert f"an opinion on {found.abstention.coverage:.0%} of the images" in words_on(tab)


def test_the_choice_of_a_split_shows_its_evaluations_alone(world: World) -> None:
    store_one(world, found=replace(made_evaluation(BINARY), split="train", model_name="on train"))
    store_one(world)
    tab = visit("evaluation.py")
    model = next(box for box in tab.selectbox if box.label == "Model")
    assert model.options == ["telltale 3f9a1c22b0e4"]
    beside = next(box for box in tab.selectbox if box.label == "Compare with")
    assert beside.options == ["on train 3f9a1c22b0e4 on breakhis, train"]
    tab = choose(tab, "Split", "train")
    assert next(box for box in tab.selectbox if box.label == "Model").options == ["on train 3f9a1c22b0e4"]
