"""The PDF report of a case: all that was said and shown, the disclaimer on every page, names only when asked."""

import io
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from PIL import Image
from pypdf import PdfReader

from core.imaging.heatmaps import make_colour_bar, overlay_heatmap
from core.results import OUT_OF_SCOPE
from db import store
from db.errors import NotRevealedError
from db.values.accounts import Role
from db.values.exports import CaseExport
from service.exports import fonts
from service.exports.case_report import CaseReportRequest, make_fhir_report, make_pdf_report
from service.exports.pdf import LARGE, SMALL, write_case_pdf
from service.exports.pdf_page import render_heatmap, render_image
from tests.helpers.exports import ReportedCase, case_of_first_pages, case_out_of_scope, reported_case
from tests.helpers.rows import OPENED, STRANGE_COLOURS
from tests.helpers.world import CARD, World

DISCLAIMER = "Research use only – not a diagnosis"


@pytest.fixture
def reported(world: World) -> ReportedCase:
    return reported_case(world)


@pytest.fixture
def no_fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer on which no further font is installed."""
    monkeypatch.setattr(fonts, "FONT_FOLDERS", (str(tmp_path),))


def write_font(file: Path, letters: str) -> None:
    """Write a font that has a box for each of some letters."""
    pen = TTGlyphPen(None)
    for step, place in enumerate([(0, 0), (0, 700), (700, 700), (700, 0)]):
        pen.lineTo(place) if step else pen.moveTo(place)
    pen.closePath()
    names = [".notdef", *(f"letter{ord(letter)}" for letter in letters)]
    glyph = pen.glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder(names)
    builder.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names[1:], strict=True)})
    builder.setupGlyf(dict.fromkeys(names, glyph))
    builder.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": file.stem, "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(file)


def pages(reported: ReportedCase, found: CaseExport) -> list[str]:
    reader = PdfReader(io.BytesIO(write_case_pdf(found, reported.world.files, CARD)))
    return [" ".join(page.extract_text().split()) for page in reader.pages]


def pixels(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)), np.int32)


def test_every_page_says_what_it_is_not_and_which_page_it_is(reported: ReportedCase) -> None:
    found = pages(reported, reported.export())
    assert len(found) > 1
    for number, text in enumerate(found, start=1):
        assert text.count(DISCLAIMER) >= 2
        assert f"page {number} of {len(found)}" in text
        assert "UTC by reader" in text


def test_it_tells_all_reads_in_order_with_what_was_on_the_screen(reported: ReportedCase) -> None:
    plain = " ".join(pages(reported, reported.export()))
    assert "5 saved reads, in a random order of readers" in plain
    text = " ".join(pages(reported, reported.export(named=True)))
    assert "5 saved reads, in chronological order" in text
    order = [
        text.index(f"{number}: {stage}") for number, stage in enumerate(("first", "first", "final, r", "final"), 1)
    ]
    assert order == sorted(order)
    assert text.count("▲ malignant 0.81, threshold 0.44; telltale network 0123456789ab, demonstration") == 3
    assert "model attends to the wrong area; heat map useful: no" in text
    assert "regions marked: 3" in text
    assert "lengths measured: 1" in text
    assert "Image 1, 320 x 260 px, scale unknown." in text
    assert "No consensus and no sign-off." in text
    reported.settle()
    reported.sign(versions=2)
    text = " ".join(pages(reported, reported.export()))
    assert "Consensus: ▲ malignant (4/5); severity of the discordance: minor" in text
    assert "Signed off, version 1 (replaced by a later version)" in text
    assert "Signed off, version 2: ▲ malignant" in text


def test_the_model_is_described_as_its_card_has_it(reported: ReportedCase) -> None:
    found = reported.export()
    text = " ".join(pages(reported, found))
    assert "telltale network, version 0123456789ab (demonstration model" in text
    assert "Trained on BreaKHis: 240 images of 24 patients." in text
    assert "AUC by image 0.810 [0.700, 0.900], out of fold, 24 patients." in text
    reader = PdfReader(io.BytesIO(write_case_pdf(found, reported.world.files, None)))
    assert "The model card of this version is not available" in " ".join(reader.pages[-1].extract_text().split())


def test_names_notes_and_dates_are_in_it_only_when_asked(reported: ReportedCase) -> None:
    reported.settle()
    reported.sign(versions=2)
    data = write_case_pdf(reported.export(), reported.world.files, CARD)
    reader = PdfReader(io.BytesIO(data))
    plain = " ".join(page.extract_text() for page in reader.pages) + str(reader.metadata)
    for telltale in ("dr. telltale", "prof.", "Mrs.", "TELLTALE", "HYPERLINK", "1950", OPENED.strftime("%Y-%m-%d")):
        assert telltale not in plain, telltale
    named = " ".join(pages(reported, reported.export(named=True)))
    for telltale in ("TELLTALE-17", "dr. telltale", "prof. telltale", "Mrs. Telltale", "treat it as patient data"):
        assert telltale in named, telltale


def test_what_the_font_lacks_is_named_in_no_log(
    reported: ReportedCase, no_fonts: None, caplog: pytest.LogCaptureFixture
) -> None:
    with reported.world.sessions.begin() as session:
        store.accounts.add_account(session, "dr. 张三", Role.READER)
    found = replace(reported.export(named=True), made_by="dr. 张三\x07")
    with caplog.at_level(logging.DEBUG):
        text = pages(reported, found)[0]
    assert "by dr. ��" in text
    assert "张" not in caplog.text


def test_letters_that_no_font_has_are_listed(reported: ReportedCase, no_fonts: None) -> None:
    assert "fonts of this server" not in " ".join(pages(reported, reported.export()))
    found = replace(reported.export(named=True), made_by="dr. 张三")
    text = " ".join(pages(reported, found))
    assert "Characters that the fonts of this server lack are printed as �: U+4E09, U+5F20." in text


def test_letters_that_an_installed_font_has_are_printed(
    reported: ReportedCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deep" / "down").mkdir(parents=True)
    write_font(tmp_path / "deep" / "down" / "NotoSansCJK-Regular.ttf", "张三")
    (tmp_path / "wqy-broken.ttf").write_bytes(b"no font at all")
    write_font(tmp_path / "unifont.ttf", "ᚠ")
    monkeypatch.setattr(fonts, "FONT_FOLDERS", (str(tmp_path), str(tmp_path / "missing")))
    read = reported.export(named=True).reads[0]
    told = replace(read, read=replace(read.read, opinion=replace(read.read.opinion, note="张三 ᚠ ጀ\n三")))
    found = replace(reported.export(named=True), made_by="dr. 张三", reads=(told,))
    text = " ".join(pages(reported, found))
    assert "by dr. 张三" in text
    assert "Note on read 1: 张三 ᚠ � 三" in text
    assert "are printed as �: U+1300." in text


def test_the_real_font_for_chinese_japanese_and_korean_is_used(reported: ReportedCase) -> None:
    if not any("NotoSansCJK" in font.name for font in fonts.list_fallback_fonts()):
        pytest.skip("Noto Sans CJK is not installed")
    text = " ".join(pages(reported, replace(reported.export(named=True), made_by="病理 検査 조직")))
    assert "by 病理 検査 조직" in text.replace(
        "\0", ""
    )  # the reader of PDFs puts zeros between letters of this kind of font
    assert "�" not in text


def test_words_of_every_length_fit_on_the_page(reported: ReportedCase) -> None:
    found = reported.export(named=True)
    long = replace(found.reads[0].read.opinion, note="x" * 3000 + " <b>&amp; {{nb}} **bold**", subtype="y" * 64)
    reads = (replace(found.reads[0], read=replace(found.reads[0].read, opinion=long, reader="z" * 200)),)
    text = "".join(pages(reported, replace(found, reads=reads))).replace(" ", "")
    assert text.count("x") >= 3000
    assert "<b>&amp;" in text
    assert "**bold**" in text


def test_many_images_become_small_and_the_rest_is_counted(world: World) -> None:
    reported = reported_case(world, images=2)
    found = reported.export()
    first = found.case.images[0]
    many = tuple(replace(first, position=place) for place in range(1, LARGE + SMALL + 4))
    text = " ".join(pages(reported, replace(found, case=replace(found.case, images=many))))
    assert text.count("logits") == 2 * LARGE + 1, "a colour bar has its two ends in logits"
    assert f"image {LARGE + SMALL}" in text
    assert f"image {LARGE + SMALL + 1}" not in text
    assert f"Images not shown: 3. A report shows at most {LARGE + SMALL} images." in text


def test_a_damaged_image_is_said_and_the_rest_is_there(reported: ReportedCase) -> None:
    found = reported.export()
    gone = replace(found.case.images[0], file_sha256="0" * 64)
    case = replace(found.case, images=(gone, found.case.images[1]))
    text = " ".join(pages(reported, replace(found, case=case)))
    assert "This image cannot be shown: the stored file 000000000000 is missing" in text
    assert "Image 2," in text


def test_regions_and_maps_are_drawn_where_they_are(reported: ReportedCase) -> None:
    found = reported.export()
    image, heatmap = found.case.images[0], found.maps[0]
    files = reported.world.files
    bare = pixels(render_image(files, image, 900))
    box = next(region for one in found.reads for region in one.read.opinion.regions if region.kind == "box")
    drawn = pixels(render_image(files, image, 900, [("1.1", box)]))
    changed = np.abs(drawn - bare).max(axis=2) > 60
    assert changed[30, 5], "its left edge"
    assert changed[60, 30], "its lower edge"
    assert not changed[100:, 100:].any()
    assert drawn.shape == bare.shape == pixels(render_heatmap(files, image, heatmap, 900)).shape
    assert max(pixels(render_image(files, image, 100)).shape) == 100


def test_colours_of_maps_are_those_of_the_whole_range() -> None:
    bar = make_colour_bar(256, 4)
    black = np.zeros((2, 2, 3), np.uint8)
    half = overlay_heatmap(black, np.full((2, 2), 1.0, np.float32), 1, span=(0, 2))
    assert (half[0, 0] == bar[0, 128]).all()
    assert (overlay_heatmap(black, np.full((2, 2), 5.0, np.float32), 1, span=(0, 2))[0, 0] == bar[0, 255]).all()


def test_a_report_is_recorded_before_it_is_given_out(reported: ReportedCase) -> None:
    sessions, files = reported.world.sessions, reported.world.files
    assert make_pdf_report(
        sessions, files, CaseReportRequest(reported.case_id, reported.world.reader), CARD
    ).startswith(b"%PDF")
    make_fhir_report(sessions, CaseReportRequest(reported.case_id, reported.other, named=True))
    with sessions.begin() as session:
        stranger = store.accounts.add_account(session, "stranger", Role.READER).id
    with pytest.raises(NotRevealedError):
        make_pdf_report(sessions, files, CaseReportRequest(reported.case_id, stranger), CARD)
    with sessions.begin() as session:
        trail = [event.subject for event in store.audit.audit_trail(session) if event.action == "exported"]
    assert trail == ["TELLTALE-17, FHIR report: 5 reads, with names", "TELLTALE-17, PDF report: 5 reads, de-identified"]


def test_how_a_file_was_read_is_under_its_image(world: World) -> None:
    request = CaseReportRequest(case_of_first_pages(world), world.reader)
    report = PdfReader(io.BytesIO(make_pdf_report(world.sessions, world.files, request, CARD)))
    words = " ".join(" ".join(page.extract_text().split()) for page in report.pages)
    assert "Note: only the first of 2 pages is used." in words


def test_a_case_out_of_scope_is_reported_without_a_label_of_the_model(world: World) -> None:
    report = case_out_of_scope(world)
    reader = PdfReader(io.BytesIO(write_case_pdf(report, world.files, CARD)))
    words = " ".join(" ".join(page.extract_text().split()) for page in reader.pages)
    assert f"{OUT_OF_SCOPE} ({STRANGE_COLOURS})." in words
    assert "no opinion: unlike the training images" in words
    assert "No opinion on this case" in words
    assert "Result for this case" not in words
    assert "probability of malignancy" not in words
