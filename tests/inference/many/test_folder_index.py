"""index.html of a folder: what it lists, shares, names; and --html on the command line."""

from __future__ import annotations

import json
import os
import re
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from inference.cli.main import main
from inference.cli.merge import main as merge
from inference.findings.page import assets, case_page
from inference.findings.page.folder_page import page_address
from inference.many import outputs
from inference.many.folder_index import index_name, is_index, write_index
from inference.many.shard import Shard
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import write_image
from phantom import Phantom
from tests.inference.findings.page_cases import HOSTILE, statistics_document


def listed(file: Path) -> list[dict[str, Any]]:
    text = re.search(r'id="abdobox-cases">(.*?)</script>', file.read_text(), re.DOTALL)
    assert text is not None
    return json.loads(text.group(1))["cases"]


@pytest.fixture
def viewer(monkeypatch: pytest.MonkeyPatch):
    for module in (case_page, outputs):
        monkeypatch.setattr(module, "niivue", lambda: "var niivue = {};")


@pytest.fixture
def scans(tmp_path: Path, phantom: Phantom) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        header = NiftiHeader.of_grid(phantom.grid)
        write_image(tmp_path / "in" / f"{name}_0000.nii.gz", phantom.image_ZYX, header)
    return tmp_path / "in"


def run(scans: Path, out: Path, model: Path, *words: str) -> int:
    base = ["-i", scans, "-o", out, "--device", "cpu", "--model", model, "--quiet"]
    return main([*map(str, base), *words])


def test_html_on_the_command_line(viewer, scans: Path, tmp_path: Path, tiny_model: Path):
    out = tmp_path / "out"
    assert run(scans, out, tiny_model, "--html") == 0
    names = {path.name for path in out.iterdir()}
    assert names == {f"{n}.{e}" for n in "abc" for e in ("html", "nii.gz")} | {"index.html"}
    assert [one["case"] for one in listed(out / "index.html")] == ["a", "b", "c"]
    # What is lacking is made again, and only that.
    (out / "b.html").unlink()
    before = (out / "a.html").stat().st_mtime_ns
    assert run(scans, out, tiny_model, "--html", "--skip-existing") == 0
    assert (out / "b.html").exists() and (out / "a.html").stat().st_mtime_ns == before
    assert [one["case"] for one in listed(out / "index.html")] == ["a", "b", "c"]


def test_failed_cases_are_listed_with_their_reason(
    viewer, scans: Path, tmp_path: Path, tiny_model: Path, capsys
):
    out, scan = tmp_path / "out", scans / "b_0000.nii.gz"
    whole = scan.read_bytes()
    scan.write_bytes(whole[: len(whole) // 2])
    (scans / "c.nii.gz").write_bytes(whole)  # beside c_0000.nii.gz
    assert run(scans, out, tiny_model, "--html") == 1
    said = capsys.readouterr().err.splitlines()
    rows = {one["case"]: one for one in listed(out / "index.html")}
    twice = "c.nii.gz and c_0000.nii.gz"
    assert set(rows) == {"a", "b", twice}
    assert rows["a"]["failed"] == ""
    assert f"error: {rows['b']['failed']}" in said and "b_0000.nii.gz" in rows["b"]["failed"]
    assert "would all be written to" in rows[twice]["failed"] and rows[twice]["href"] == ""
    assert rows["b"]["href"] == "./b.html" and not (out / "b.nii.gz").exists()
    assert rows["b"]["failed"] in unescape((out / "b.html").read_text())
    # Mended, and gone on with.
    scan.write_bytes(whole)
    (scans / "c.nii.gz").unlink()
    assert run(scans, out, tiny_model, "--html", "--skip-existing") == 0
    assert [(one["case"], one["failed"]) for one in listed(out / "index.html")] == [
        ("a", ""), ("b", ""), ("c", ""),
    ]  # fmt: skip


def test_shares_and_their_merge(viewer, scans: Path, tmp_path: Path, tiny_model: Path):
    out = tmp_path / "out"
    for index in (1, 2):
        assert run(scans, out, tiny_model, "--html", "--shard", f"{index}/2") == 0
    shares = [
        {one["case"] for one in listed(out / index_name(Shard(index, 2)))}
        for index in (1, 2)
        if (out / index_name(Shard(index, 2))).exists()
    ]
    assert set().union(*shares) == {"a", "b", "c"} and sum(map(len, shares)) == 3
    assert merge([str(out)]) == 0
    assert [one["case"] for one in listed(out / "index.html")] == ["a", "b", "c"]


def test_only_wanted_labels_are_in_the_page(viewer, scans: Path, tmp_path: Path, tiny_model: Path):
    scan = scans / "a_0000.nii.gz"
    assert run(scan, tmp_path / "out", tiny_model, "--html", "--labels", "liver") == 0
    page = (tmp_path / "out" / "a.html").read_text()
    view = re.search(r'id="abdobox-view">(.*?)</script>', page, re.DOTALL)
    assert view is not None
    assert [one["name"] for one in json.loads(view.group(1))["structures"]] == ["liver"]


def test_without_the_viewer_nothing_is_begun(scans, tmp_path, tiny_model, monkeypatch, capsys):
    monkeypatch.setattr(assets, "_PLACES", (tmp_path / "none",))
    assets.niivue.cache_clear()
    assert run(scans, tmp_path / "out", tiny_model, "--html") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "--html" in line and "make page-assets" in line
    assert not list(tmp_path.glob("out/*.nii.gz"))


def test_a_case_of_the_lists_name_is_refused(viewer, scans, tmp_path, tiny_model, capsys):
    (scans / "b_0000.nii.gz").rename(scans / "index_0000.nii.gz")
    assert run(scans, tmp_path / "out", tiny_model, "--html") == 1
    assert "rename the scan" in capsys.readouterr().err
    assert [one["case"] for one in listed(tmp_path / "out" / "index.html")] == ["a", "c"]
    assert not (tmp_path / "out" / "index.nii.gz").exists()


def test_names_of_lists():
    assert is_index("index") and is_index("index.1-of-2")
    assert not is_index("index.2") and not is_index("my index")


def test_other_peoples_pages_and_links_are_left_out(viewer, tmp_path: Path, phantom: Phantom):
    page = case_page.case_page(
        statistics_document("first", phantom), phantom.image_ZYX, phantom.labels_ZYX, phantom.grid
    )
    (tmp_path / "first.html").write_bytes(page)
    (tmp_path / "other.html").write_text("<html>")
    (tmp_path / "link.html").symlink_to("first.html")
    (tmp_path / "folder.html").mkdir()
    assert write_index(tmp_path) == 1
    assert [one["case"] for one in listed(tmp_path / "index.html")] == ["first"]


@pytest.mark.parametrize("name", [name for name in HOSTILE if "/" not in name])
def test_addresses_lead_to_the_file(viewer, tmp_path: Path, phantom: Phantom, name: str):
    page = case_page.case_page(
        statistics_document(name, phantom), phantom.image_ZYX, phantom.labels_ZYX, phantom.grid
    )
    try:
        (tmp_path / f"{name}.html").write_bytes(page)
    except OSError:
        pytest.skip("this file system takes no such name")
    assert write_index(tmp_path) == 1
    (one,) = listed(tmp_path / "index.html")
    assert one["href"] == page_address(name) and one["href"].startswith("./")
    assert unquote_to_bytes(one["href"][2:]) == os.fsencode(f"{name}.html")
    assert all(c.isprintable() for c in one["case"])
    assert one["href"].isascii()
