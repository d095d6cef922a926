"""The pages in a real Chromium, from file://, without network (Debian's, driven by Playwright)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inference.errors import ModelError
from inference.findings.page.assets import niivue
from inference.findings.page.case_page import case_page
from inference.findings.page.failure_page import failure_page
from inference.findings.page.folder_page import folder_page
from inference.findings.page.summary import of_failure
from inference.labels import COLORS, NAMES
from phantom import Phantom, make_phantom
from tests.chromium import PIXELS, Opened, chromium
from tests.inference.findings.page_cases import HOSTILE, statistics_document, summaries

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def open_page(browser: Any, file: Path, width: int = 1200, height: int = 800) -> Opened:
    return Opened.of(browser, file, width, height).ready()


@pytest.fixture(scope="module")
def made() -> Phantom:
    """Fine enough for every structure to show in a slice."""
    return make_phantom((60, 96, 120), (4.0, 3.2, 3.2), seed=1)


def page_of(name: str, made: Phantom) -> bytes:
    try:
        niivue()
    except ModelError as error:
        pytest.skip(str(error))
    document = statistics_document(name, made)
    return case_page(document, made.image_ZYX, made.labels_ZYX, made.grid)


@pytest.fixture(scope="module")
def case_file(made: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "a case #1.html"
    file.write_bytes(page_of("a case #1", made))
    return file


# The axial slice that the crosshair is in.
LEVEL = "abdobox.nv.frac2vox(abdobox.nv.scene.crosshairPos)[2]"


def test_after_a_click_the_slice_holds_that_structure(browser, case_file: Path, made: Phantom):
    opened = open_page(browser, case_file, 900, 700)
    page = opened.page
    page.get_by_role("button", name="Axial", exact=True).click()
    page.get_by_role("button", name="Selected alone").click()
    page.locator("input[type=range]").fill("1")
    shown = page.locator(".organs button:not([disabled])")
    labels = [int(one.get_attribute("data-label")) for one in shown.all()]
    assert labels == sorted({*made.labels_ZYX.ravel().tolist()} - {0})
    for label in labels:
        page.locator(f".organs button[data-label='{label}']").click()
        assert page.evaluate(PIXELS, list(COLORS[label])) > 20, label
        assert (made.labels_ZYX[page.evaluate(LEVEL)] == label).any()
        assert page.inner_text("#readout").startswith(NAMES[label])
    # The lowest slice holds no liver: the colour that was counted is that of the structure.
    page.locator(".organs button[data-label='1']").click()
    page.evaluate("window.abdobox.nv.moveCrosshairInVox(0, 0, -1000)")
    assert not (made.labels_ZYX[0] == 1).any()
    assert page.evaluate(PIXELS, list(COLORS[1])) == 0
    opened.quiet(case_file)


def test_an_oblique_scan(browser, tmp_path: Path, made: Phantom):
    """The crosshair goes by the scan's own axes, not by the patient's."""
    cos, sin = math.cos(0.3), math.sin(0.3)
    grid = replace(made.grid, direction=(1.0, 0.0, 0.0, 0.0, cos, -sin, 0.0, sin, cos))
    file = tmp_path / "oblique.html"
    file.write_bytes(page_of("oblique", replace(made, grid=grid)))
    opened = open_page(browser, file, 700, 600)
    for label in (1, 3, 7):
        opened.page.locator(f".organs button[data-label='{label}']").click()
        assert opened.page.inner_text("#readout").startswith(NAMES[label])
    opened.quiet(file)


def test_keys(browser, case_file: Path):
    opened = open_page(browser, case_file, 700, 600)
    page = opened.page

    def now(what: str) -> Any:
        return page.evaluate(f"({{ nv, state }}) => {what}", page.evaluate_handle("abdobox"))

    start = page.evaluate(LEVEL)
    page.keyboard.press("ArrowUp")
    assert page.evaluate(LEVEL) == start + 1
    page.keyboard.press("ArrowDown")
    page.keyboard.press("PageDown")
    assert page.evaluate(LEVEL) == max(0, start - 10)
    organ = now("state.organ")
    page.keyboard.press("n")
    assert now("state.organ") != organ
    page.keyboard.press("p")
    assert now("state.organ") == organ
    page.keyboard.press("3")
    assert now("[nv.volumes[0].cal_min, nv.volumes[0].cal_max]") == [-1350, 150]
    page.keyboard.press("o")
    assert now("nv.volumes[1].opacity") == 0
    page.keyboard.press("v")
    assert now("nv.opts.sliceType") == 0
    page.keyboard.press("h")
    assert now("state.only") is True
    # Without a mouse: every control is reached by Tab, and a press of it counts.
    page.get_by_role("button", name="Bone").focus()
    page.keyboard.press("Enter")
    assert now("nv.volumes[0].cal_max") == 1050
    opened.quiet(case_file)


@pytest.mark.parametrize(("width", "height"), [(400, 800), (3840, 2160)])
def test_fits(browser, case_file: Path, width: int, height: int):
    opened = open_page(browser, case_file, width, height)
    box = opened.page.locator("#canvas").bounding_box()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert box["width"] >= 0.6 * min(width, 2400) and box["height"] >= 300
    first = opened.page.locator(".organs button").first
    assert first.bounding_box()["height"] >= 28  # a finger's
    opened.quiet(case_file)


def test_prints_on_one_sheet(browser, case_file: Path):
    opened = open_page(browser, case_file, 900, 700)
    pdf = opened.page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b(?!s)", pdf)) == 1
    assert opened.page.evaluate("document.querySelector('#printed').naturalWidth") > 300


def test_a_list_prints_every_row(browser, tmp_path: Path):
    """On screen only those that are seen are in the document."""
    file = tmp_path / "index.html"
    file.write_bytes(folder_page(summaries(100)))
    opened = open_page(browser, file, 900, 700)
    assert opened.page.locator(".row.case").count() < 40
    opened.page.evaluate(
        "addEventListener('beforeprint',"
        "() => { window.printed = document.querySelectorAll('.row.case').length; })"
    )
    opened.page.pdf(format="A4")
    assert opened.page.evaluate("window.printed") == 100
    assert opened.page.locator(".row.case").count() < 40
    opened.quiet(file)


def test_the_tab_key_goes_through_a_list_from_row_to_row(browser, tmp_path: Path):
    """Rows come and go as the page scrolls; the one that has the focus stays."""
    file = tmp_path / "index.html"
    file.write_bytes(folder_page(summaries(100)))
    opened = open_page(browser, file, 900, 700)
    opened.page.locator(".case a").first.focus()
    names = []
    for _ in range(60):
        names.append(opened.page.evaluate("document.activeElement.textContent"))
        opened.page.keyboard.press("Tab")
        opened.page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    assert len(set(names)) == 60 and all(name.startswith("case_") for name in names)
    drawn = opened.page.locator(".row.case .name").all_inner_texts()
    assert len(drawn) < 40 and names[-1] in drawn
    opened.quiet(file)


def test_volumes_in_a_list_are_no_less_than_they_are(browser, tmp_path: Path):
    """Those of which the scan shows a part are marked, and small ones are not 0."""
    volumes = {"liver_ml": 812.4, "spleen_ml": 200.0, "kidneys_ml": 300.0, "lesions_ml": 0.004}
    row = {**summaries(1)[0], **volumes, "lesions": 1}
    file = tmp_path / "index.html"
    file.write_bytes(folder_page([{**row, "cut": ["liver_ml"]}]))
    opened = open_page(browser, file)
    numbers = opened.page.locator(".case .number").all_inner_texts()
    assert numbers == ["≥ 812", "200", "300", "1", "< 0.01"]
    opened.quiet(file)


@pytest.mark.parametrize("name", HOSTILE[:6])
def test_hostile_names_do_nothing(browser, tmp_path: Path, name: str):
    """In the list of cases, which builds its rows by script; the case's page has no other way than
    the HTML that test_case_page.py looks at."""
    rows = [{**one, "case": name, "organ_doubts": [name], "made": name} for one in summaries(3)]
    file = tmp_path / "index.html"
    file.write_bytes(folder_page(rows))
    opened = open_page(browser, file)
    link = opened.page.locator("a").first
    assert link.inner_text() == name.replace("\u202e", "\ufffd")
    assert link.evaluate("a => a.href").startswith(tmp_path.as_uri() + "/")
    assert opened.page.evaluate("window.hit") is None
    opened.quiet(file)


def test_a_hostile_case(browser, tmp_path: Path, made: Phantom):
    file = tmp_path / "a.html"
    file.write_bytes(page_of("".join(HOSTILE[:4]), made))
    opened = open_page(browser, file, 600, 500)
    assert opened.page.evaluate("window.hit") is None
    assert opened.page.title() == "".join(HOSTILE[:4])
    opened.quiet(file)


def test_five_thousand_rows(browser, tmp_path: Path):
    file = tmp_path / "index.html"
    file.write_bytes(folder_page(summaries(5000)))
    opened = open_page(browser, file)
    page = opened.page

    def cases() -> list[str]:
        return page.locator(".case a").all_inner_texts()

    def took(script: str) -> float:
        """Milliseconds until it has been drawn."""
        wrapped = (
            "async () => { const start = performance.now(); " + script + ";"
            "await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));"
            "return performance.now() - start; }"
        )
        return page.evaluate(wrapped)

    assert page.locator(".row.case").count() < 40  # what is not seen is not in the document
    assert cases()[:2] == ["case_01234", "case_00000"]  # a doubtful scan before doubtful organs
    assert page.inner_text("#count") == "5000 / 5000 cases"
    times = [took("document.querySelector('[data-column=liver_ml]').click()")]
    liver = [float(text) for text in page.locator(".case .number:nth-child(4)").all_inner_texts()]
    assert liver == sorted(liver, reverse=True) and liver[0] == 2499
    times.append(took("window.scrollTo(0, document.body.scrollHeight)"))
    page.wait_for_timeout(300)
    liver = [float(text) for text in page.locator(".case .number:nth-child(4)").all_inner_texts()]
    assert liver[-1] == 1000
    times.append(took("window.scrollTo(0, 0); document.querySelector('#doubtful').click()"))
    assert page.inner_text("#count") == "1668 / 5000 cases"
    page.fill("#search", "CASE_0123")
    assert page.inner_text("#count") == "5 / 5000 cases"
    assert sorted(cases()) == [f"case_0123{digit}" for digit in (0, 3, 4, 6, 9)]
    page.fill("#search", "no such case")
    assert cases() == []
    page.fill("#search", "")
    times.append(took("document.querySelector('[data-column=spleen_ml]').click()"))
    print("5,000 rows, ms:", [round(t) for t in times], f"{file.stat().st_size / 1e6:.1f} MB")
    assert max(times) < 2000
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 1200
    opened.quiet(file)


def test_failed_cases_come_first(browser, tmp_path: Path):
    (tmp_path / "case_00002.html").write_bytes(failure_page("case_00002", "it is cut"))
    rows = summaries(6)
    rows[2] = of_failure("case_00002", "it is cut", rows[2]["made"])
    file = tmp_path / "index.html"
    file.write_bytes(folder_page(rows, [("twice.nii.gz", "<b>two</b> of them")]))
    opened = open_page(browser, file)
    said = opened.page.locator(".row.case .said").all_inner_texts()
    assert said[:2] == ["failed it is cut", "failed <b>two</b> of them"]
    opened.page.check("#doubtful")
    assert opened.page.inner_text("#count") == "4 / 7 cases"
    opened.page.fill("#search", "it is cut")
    assert opened.page.inner_text("#count") == "1 / 7 cases"
    opened.quiet(file)
    page = browser.new_page()
    page.goto(file.as_uri())
    page.get_by_role("link", name="case_00002").click()
    assert "it is cut" in page.inner_text(".doubts")
    page.close()


def test_the_list_fits_a_phone(browser, tmp_path: Path):
    file = tmp_path / "index.html"
    file.write_bytes(folder_page(summaries(10)))
    opened = open_page(browser, file, 400, 800)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 400
    opened.quiet(file)
