"""A case's page: what it holds, what is escaped, and the coarse scan in it."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from inference.errors import ModelError
from inference.findings.page import assets, case_page
from inference.findings.page.failure_page import failure_page
from inference.findings.page.png import indexed_png
from inference.findings.page.reduced import Reduced, block
from inference.findings.page.summary import of_page
from inference.grid import Grid
from phantom import Phantom
from tests.inference.findings.page_cases import HOSTILE, statistics_document
from tests.inference.orientations import AXIS_ALIGNED


@pytest.fixture(autouse=True)
def viewer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(case_page, "niivue", lambda: "var niivue = {};")


class Elements(HTMLParser):
    """Start tags and their attributes, and the text of each script."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script" and self.cdata_elem:
            self.scripts[-1] += data


def made_page(name: str, phantom: Phantom, warnings=()) -> bytes:
    document = statistics_document(name, phantom)
    return case_page.case_page(
        document, phantom.image_ZYX, phantom.labels_ZYX, phantom.grid, warnings
    )


def test_what_the_page_holds(phantom: Phantom):
    page = made_page("a_case", phantom, ["the spacing was guessed"]).decode()
    for words in ("a_case", "Not a medical device", "0" * 64, "inferior vena cava", "guessed"):
        assert words in page
    assert page.index("<h2>Doubts</h2>") < page.index("<canvas") < page.index("<h2>Measures</h2>")
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", page)
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", page)


@pytest.mark.parametrize(
    ("ml", "text"),
    [(None, ""), (0.00003, "< 0.01"), (0.02, "0.02"), (3.14159, "3.1"), (1505.4, "1505")],
)
def test_what_is_there_is_never_shown_as_0(ml: float | None, text: str):
    assert case_page.number(ml) == text


def test_hu_just_below_0_have_no_sign(phantom: Phantom):
    document = statistics_document("a", phantom)
    document["structures"][0]["mean_hu"] = -0.3
    arrays = (phantom.image_ZYX, phantom.labels_ZYX, phantom.grid)
    page = case_page.case_page(document, *arrays).decode()
    assert "<td>0</td>" in page and "<td>-0</td>" not in page


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_warnings_are_text(phantom: Phantom, name: str):
    plain = Elements(made_page("plain", phantom, ["plain"]))
    hostile = Elements(made_page(name, phantom, [name]))
    # No element more than with a plain name, and no attribute that is code.
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert not any(key.startswith("on") for _, attributes in hostile.tags for key in attributes)
    summary = json.loads(hostile.scripts[0])
    # Bytes that are no UTF-8 are shown as such, as in every table and report.
    assert summary["case"] == os.fsencode(name).decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("name", HOSTILE)
def test_names_and_reasons_of_failed_cases_are_text(name: str):
    plain, hostile = (Elements(failure_page(one, f"{one}: x")) for one in ("plain", name))
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert not any(key.startswith("on") for _, attributes in hostile.tags for key in attributes)
    head = of_page(failure_page(name, f"{name}: x")[: 1 << 16])
    assert head is not None
    assert head["failed"].endswith(": x") and head["liver_ml"] is None


def test_a_policy_forbids_to_load_anything(phantom: Phantom):
    tags = Elements(made_page("a", phantom)).tags
    policies = [a["content"] for tag, a in tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert len(policies) == 1
    assert "default-src 'none'" in policies[0] and "http" not in policies[0]


def test_the_summary_lies_at_the_head(phantom: Phantom):
    page = made_page("a", phantom)
    summary = of_page(page[: 1 << 16])
    assert summary is not None
    assert summary["liver_ml"] == statistics_document("a", phantom)["structures"][0]["volume_ml"]
    assert summary["picture"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<html>",
        b'<script type="application/json" id="abdobox-case">{</script>',
        b'<script type="application/json" id="abdobox-case">' + b"[" * 100_000 + b"</script>",
        b'<script type="application/json" id="abdobox-case">{"schema": "other"}</script>',
    ],
)
def test_what_is_no_page_has_no_summary(head: bytes):
    assert of_page(head) is None


def test_a_summary_of_wrong_kinds_is_cleaned():
    head = (
        b'<script type="application/json" id="abdobox-case">{"schema": "abdobox-page-1", '
        b'"case": 5, "picture": "javascript:x", "liver_ml": "much", "lesions": true, '
        b'"lesions_ml": 1e999, "scan_doubts": "no list", "organ_doubts": [1, "x"], '
        b'"cut": 1}</script>'
    )
    summary = of_page(head)
    assert summary is not None
    assert summary["case"] == "" and summary["picture"] == "" and summary["liver_ml"] is None
    assert summary["lesions"] is None and summary["lesions_ml"] is None
    assert summary["cut"] == summary["scan_doubts"] == [] and summary["organ_doubts"] == ["", "x"]


@pytest.mark.parametrize("shape", [(7, 40, 50), (300, 512, 512), (1, 2000, 2000), (3000, 64, 64)])
def test_blocks_keep_the_page_small(shape):
    grid = Grid(shape, (1.6, 1.5, 1.5))
    steps = block(grid)
    coarse = np.prod([-(-n // k) for n, k in zip(shape, steps, strict=True)])
    assert coarse <= 7_200_000
    assert np.prod(shape) > 7_200_000 or steps == (1, 1, 1)


def test_means_over_blocks_and_labels_that_are_not_lost(monkeypatch):
    monkeypatch.setattr("inference.findings.page.reduced._MOST_VOXELS", 2 * 3 * 4)
    shape = (4, 6, 7)  # the last block of x is half a one
    rng = np.random.default_rng(0)
    image = rng.integers(-1000, 1000, shape).astype(np.int16)
    labels = np.zeros(shape, np.uint8)
    labels[:2, :4] = 1
    labels[0, 0, 0] = 7  # in no block's middle
    labels[3] = 9  # not wanted
    grid = Grid(shape, (2.0, 2.0, 2.0), (10.0, 20.0, 30.0))
    reduced = Reduced.of(image, labels, grid, (1, 7))
    assert reduced.image_ZYX.shape == (2, 3, 4) and reduced.grid.spacing == (4.0, 4.0, 4.0)
    assert reduced.grid.origin == (11.0, 21.0, 31.0)
    padded = np.pad(image, ((0, 0), (0, 0), (0, 1)), mode="edge").astype(float)
    means = padded.reshape(2, 2, 3, 2, 4, 2).mean(axis=(1, 3, 5))
    assert np.abs(reduced.image_ZYX - means).max() <= 3  # steps of 4 HU, whole numbers
    assert set(np.unique(reduced.labels_ZYX)) == {0, 1, 7}
    assert reduced.labels_ZYX[0, 0, 0] == 7 and (reduced.labels_ZYX[0, :2] > 0).all()


@pytest.mark.parametrize("direction", AXIS_ALIGNED[::7])
def test_places_are_in_the_organ_however_the_scan_is_stored(direction):
    shape = (20, 30, 40)
    labels = np.zeros(shape, np.uint8)
    labels[4:9, 3:20, 5:30] = 3
    labels[4:9, 6:20, 8:27] = 0  # a crescent: its middle is outside of it
    grid = Grid(shape, (2.0, 1.5, 1.0), (-7.0, 3.0, 11.0), direction)
    reduced = Reduced.of(np.zeros(shape, np.int16), labels, grid, (3,))
    place = reduced.place(3)
    assert place is not None and reduced.place(4) is None
    image = sitk.GetImageFromArray(labels)
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.origin)
    image.SetDirection(grid.direction)
    assert image[image.TransformPhysicalPointToIndex(place)] == 3


def test_the_coarse_scan_lies_where_the_scan_does(tmp_path: Path, phantom: Phantom):
    reduced = Reduced.of(phantom.image_ZYX, phantom.labels_ZYX, phantom.grid, range(1, 15))
    (tmp_path / "a.nii.gz").write_bytes(reduced.nifti(reduced.image_ZYX))
    read = sitk.ReadImage(str(tmp_path / "a.nii.gz"))
    assert np.array_equal(sitk.GetArrayFromImage(read), reduced.image_ZYX)
    assert np.allclose(read.GetOrigin(), reduced.grid.origin, atol=1e-4)
    assert np.allclose(read.GetDirection(), reduced.grid.direction, atol=1e-6)


def test_png_against_pillow(tmp_path: Path):
    indices = np.arange(30, dtype=np.uint8).reshape(5, 6)
    palette = np.random.default_rng(0).integers(0, 256, (30, 3)).astype(np.uint8)
    (tmp_path / "a.png").write_bytes(indexed_png(indices, palette))
    with Image.open(tmp_path / "a.png") as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), palette[indices])


def test_the_thumbnail_is_small_and_in_color(phantom: Phantom):
    summary = of_page(made_page("a", phantom)[: 1 << 16])
    assert summary is not None
    data = base64.b64decode(summary["picture"].partition(",")[2])
    width, height = struct.unpack(">II", data[16:24])
    assert max(width, height) == 96 and len(data) < 8000
    start = data.index(b"IDAT") + 4
    pixels = np.frombuffer(zlib.decompressobj().decompress(data[start:]), np.uint8)
    assert (pixels >= 64).sum() > 200  # labels are beyond the grays


def test_without_the_viewer_one_line_says_what_to_do(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(assets, "_PLACES", (tmp_path,))
    assets.niivue.cache_clear()
    with pytest.raises(ModelError, match="make page-assets") as raised:
        assets.niivue()
    assert "\n" not in str(raised.value)


def test_the_viewers_script_cannot_end_its_element(tmp_path: Path, monkeypatch):
    (tmp_path / "niivue.umd.js").write_text('x = "</script></SCRIPT ><!--";')
    (tmp_path / "LICENSES.txt").write_text("a */ b </Script>")
    monkeypatch.setattr(assets, "_PLACES", (tmp_path,))
    assets.niivue.cache_clear()
    script = assets.niivue()
    assets.niivue.cache_clear()
    assert "</script" not in script.lower() and "<!--" not in script
    assert script.count("*/") == 1
    assert script.endswith(r'x = "<\/script><\/SCRIPT ><\!--";')


def test_a_scan_of_noise_fits_into_twelve_megabytes(phantom: Phantom):
    """The worst that can be: what no averaging and no compression makes smaller."""
    shape = (71, 316, 316)  # just below the most that is taken as it is
    image = np.random.default_rng(0).normal(0, 60, shape).astype(np.int16)
    grid = Grid(shape, (2.0, 2.0, 2.0))
    assert block(grid) == (1, 1, 1)
    reduced = Reduced.of(image, np.zeros(shape, np.uint8), grid, ())
    assert len(reduced.nifti(reduced.image_ZYX)) * 4 / 3 + 2.4e6 < 12e6


def test_air_around_the_patient_is_left_out(phantom: Phantom):
    shape = (40, 120, 120)
    image = np.full(shape, -1000, np.int16)
    image[:, 40:80, 30:90] = 40
    labels = np.zeros(shape, np.uint8)
    labels[10:20, 50:60, 40:50] = 1
    labels[30, 5, 100] = 3  # labels in the air are shown, too
    grid = Grid(shape, (3.0, 3.0, 3.0), (1.0, 2.0, 3.0))
    reduced = Reduced.of(image, labels, grid, (1, 3))
    z, y, x = reduced.grid.shape
    assert z == 40 and 75 <= y < 80 and 70 <= x < 80
    place = reduced.place(3)
    assert place is not None and np.allclose(place, grid.physical((30, 5, 100)))
    assert np.count_nonzero(reduced.labels_ZYX == 1) == 1000
