"""The page that segments in a browser, in a real Chromium: it finds what the box finds."""

from __future__ import annotations

import base64
import functools
import gzip
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from evaluation.dice import dice
from inference.errors import ModelError
from inference.findings.page.assets import niivue
from inference.labels import COLORS, NAMES
from inference.model.folder import WEIGHTS
from inference.segmenter import Segmenter
from phantom import Phantom, make_phantom
from tests.chromium import PIXELS, Opened, chromium
from tests.tilted_scans import tilted

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "build" / "web-browser" / "node_modules"
LEAST_EQUAL, LEAST_DICE = 0.999, 0.99
MOST_BYTES = 10_000_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the scripts as they are now."""
    from web.build_browser import main

    if not MODULES.is_dir():
        pytest.skip("no ONNX Runtime for the browser (make browser-page)")
    try:
        niivue()
    except ModelError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("browser")
    assert main([str(MODULES), str(folder)]) == 0
    return folder / "index.html"


@pytest.fixture(scope="module")
def page(browser, built: Path) -> Iterator[Opened]:
    """Opened once; it takes one scan after another."""
    opened = Opened.of(browser, built, 1200, 900)
    opened.page.wait_for_selector("body[data-state='ready']")
    yield opened
    opened.quiet(built)


@pytest.fixture(scope="module")
def patient() -> Phantom:
    """Smaller than a window along z and y, larger along x."""
    return make_phantom((60, 96, 120), (4.0, 3.2, 3.2), seed=1)


@pytest.fixture(scope="module")
def box() -> Segmenter:
    return Segmenter.load(WEIGHTS / "tiny", "cpu", precision="f32")


def segmented(
    opened: Opened, scan: Path, folder: Path, *, dropped: bool = False
) -> nib.Nifti1Image:
    """What the page saves for a scan that is chosen, or dropped on it."""
    page = opened.page
    if dropped:
        data = base64.b64encode(scan.read_bytes()).decode()
        page.evaluate(DROP, [scan.name, data])
    else:
        page.set_input_files("#file", scan)
    page.wait_for_selector("body[data-state='done'], body[data-state='failed']")
    assert page.evaluate("document.body.dataset.state") == "done", page.inner_text("#said")
    with page.expect_download() as saving:
        page.click("#save")
    saving.value.save_as(folder / "saved.nii.gz")
    assert saving.value.suggested_filename == f"{scan.name.split('.')[0]}.nii.gz"
    return nib.load(folder / "saved.nii.gz")


DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  const settings = { dataTransfer, bubbles: true, cancelable: true };
  document.body.dispatchEvent(new DragEvent("drop", settings));
}"""


def written(patient: Phantom, kind: str, folder: Path) -> Path:
    """The phantom as one kind of file."""
    if kind == "LPS, int16, gzip":
        path, image = folder / "scan.nii.gz", tilted(patient, "LPS")
    elif kind == "ASR, int16, big endian":
        turned = tilted(patient, "ASR")
        header = nib.Nifti1Header(endianness=">")
        header.set_data_dtype(np.int16)
        path = folder / "scan.nii"
        image = nib.Nifti1Image(np.asarray(turned.dataobj), turned.affine, header)
    else:
        turned = tilted(patient, "ILA")
        path = folder / "scan.nii.gz"
        image = nib.Nifti2Image(np.asarray(turned.dataobj, np.float32) + 1024, turned.affine)
        image.header.set_data_dtype(np.uint16)
        image.header.set_slope_inter(1, 0)
        nib.save(image, path)
        # The intercept by hand: nibabel would take it off the values.
        data = bytearray(gzip.decompress(path.read_bytes()))
        data[184:192] = np.float64(-1024).tobytes()
        path.write_bytes(gzip.compress(bytes(data)))
        return path
    nib.save(image, path)
    return path


def assert_alike(found: np.ndarray, wanted: np.ndarray) -> float:
    equal = float((found == wanted).mean())
    assert equal > LEAST_EQUAL
    for label in np.union1d(np.unique(found), np.unique(wanted)):
        assert dice(found == label, wanted == label) > LEAST_DICE, label
    return equal


@pytest.mark.parametrize(
    "kind", ["LPS, int16, gzip", "ASR, int16, big endian", "ILA, NIfTI-2, uint16 with intercept"]
)
def test_labels_are_the_boxs(
    page: Opened, patient: Phantom, box: Segmenter, tmp_path: Path, kind: str
):
    scan = written(patient, kind, tmp_path)
    saved = segmented(page, scan, tmp_path, dropped=kind.startswith("LPS"))
    source = nib.load(scan)
    assert saved.shape == source.shape and saved.get_data_dtype().itemsize == 1
    assert np.array_equal(saved.affine, source.affine)
    found = np.asarray(saved.dataobj).transpose()
    wanted = box.segment(scan, step=0.5).labels
    assert len(np.unique(wanted)) > 10
    equal = assert_alike(found, wanted)
    result = page.page.evaluate("({ ...abdobox.result, nifti: null })")
    assert result["windows"] == 2
    for one in result["found"]:
        ml = np.count_nonzero(found == one["label"]) * patient.grid.voxel_ml
        assert one["ml"] == pytest.approx(ml, rel=1e-4)
        x, y, z = one["voxel"]
        assert found[z, y, x] == one["label"]
    print(f"\n{kind}: {equal:.6f} equal, seconds {result['seconds']}, {peak_memory(page)}")


def test_labels_are_those_of_the_command(page: Opened, patient: Phantom, tmp_path: Path):
    """With the precision that this processor gets."""
    scan = written(patient, "LPS, int16, gzip", tmp_path)
    found = np.asarray(segmented(page, scan, tmp_path).dataobj).transpose()
    whole = Segmenter.load(WEIGHTS, model="tiny", device="cpu")
    wanted = whole.segment(scan).labels
    equal = float((found == wanted).mean())
    print(f"\n{whole.network.name}: {equal:.6f} equal")
    assert equal > LEAST_EQUAL


def test_an_organ_is_shown_after_a_press_of_it(page: Opened, patient: Phantom, tmp_path: Path):
    segmented(page, written(patient, "LPS, int16, gzip", tmp_path), tmp_path)
    page.page.locator("input[type=range]").fill("1")
    for label in (1, 3, 5):
        page.page.locator(f".organs button[data-label='{label}']").click()
        assert page.page.inner_text("#readout").startswith(NAMES[label])
        assert page.page.evaluate(PIXELS, list(COLORS[label])) > 20


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b"no scan", "no NIfTI file"),
        (gzip.compress(bytes(1000))[:-9], "cut or corrupt"),
        ("cut", "fewer voxels"),
        ("4D", "not one volume"),
        ("NaN", "NaN or infinite"),
        ("air", "nothing but air"),
        ("one value", "nothing but the value 7"),
    ],
)
def test_what_is_no_scan_is_said(page: Opened, tmp_path: Path, contents: bytes | str, words: str):
    scan = tmp_path / "bad.nii"
    if isinstance(contents, str):
        voxels = np.full((20, 20, 20), 7 if contents == "one value" else -1000, np.float32)
        if contents != "one value":
            voxels[3, 3, 3] = np.nan if contents == "NaN" else -900
        if contents == "4D":
            voxels = np.stack([voxels, voxels], axis=-1)
        nib.save(nib.Nifti1Image(voxels, np.diag([4, 4, 4, 1])), scan)
        contents = scan.read_bytes()[: 9000 if contents == "cut" else None]
    scan.write_bytes(contents)
    page.page.set_input_files("#file", scan)
    page.page.wait_for_selector(f"#said:has-text('{words}')")
    assert page.page.evaluate("document.body.dataset.state") == "failed"
    assert page.page.inner_text("#said").startswith("bad.nii: ")


def test_small_enough(built: Path):
    page = built.read_text(encoding="utf-8")
    start = page.index('id="abdobox-wasm">')
    wasm = page.index("</script>", start) - start
    assert len(page.encode()) - wasm < MOST_BYTES
    assert "onnxruntime" in (built.parent / "LICENSES.txt").read_text(encoding="utf-8").lower()


@pytest.mark.parametrize(("width", "height"), [(400, 800), (3840, 2160)])
def test_fits(browser, built: Path, width: int, height: int):
    opened = Opened.of(browser, built, width, height)
    opened.page.wait_for_selector("body[data-state='ready']")
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    opened.quiet(built)


def test_from_a_server_too(browser, built: Path):
    handler = functools.partial(Silent, directory=str(built.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        page.wait_for_selector("body[data-state='ready']")
        page.close()
        server.shutdown()


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


def test_a_real_scan(page: Opened, box: Segmenter, shared_data: Path, tmp_path: Path):
    scan = shared_data / "ct" / "totalsegmentator_slab_0000.nii.gz"
    page.page.set_input_files("#file", scan)
    page.page.wait_for_selector("body[data-state='done'], body[data-state='failed']")
    with page.page.expect_download() as saving:
        page.page.click("#save")
    saving.value.save_as(tmp_path / "saved.nii.gz")
    found = np.asarray(nib.load(tmp_path / "saved.nii.gz").dataobj).transpose()
    equal = assert_alike(found, box.segment(scan, step=0.5).labels)
    result = page.page.evaluate("({ ...abdobox.result, nifti: null })")
    print(
        f"\n{scan.name} {found.shape}: {equal:.6f} equal, {result['windows']} windows, "
        f"seconds {result['seconds']}, {peak_memory(page)}"
    )


def peak_memory(opened: Opened) -> str:
    """Of the largest of the browser's processes that show pages: the most that it has held."""
    peaks = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            command = (status.parent / "cmdline").read_bytes()
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:  # has ended
            continue
        if b"--type=renderer" in command and "VmHWM" in lines:
            peaks.append(int(lines["VmHWM"].split()[0]))
    return f"{max(peaks) / 1024:.0f} MiB at most" if peaks else "memory unknown"
