"""Names and colours beside and within label maps, as other programs read them."""

from __future__ import annotations

import gzip
import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from inference.labels import NAMES, STRUCTURES
from inference.scan.label_tables import ITK_SNAP, SLICER, itk_snap, slicer
from inference.scan.nifti_header import NiftiHeader
from inference.scan.volume import read_labels, read_volume, write_labels
from tests.inference.nifti_files import scan_voxels, write_nifti

FILES = Path(__file__).resolve().parents[3] / "labels"
HEADER_BYTES = {1: 348, 2: 540}


def test_files_beside_the_readme_are_made_from_the_table():
    """After a change: python -m inference.scan.label_tables labels"""
    assert (FILES / ITK_SNAP).read_text() == itk_snap()
    assert (FILES / SLICER).read_text() == slicer()


def test_itk_snaps_file_by_its_own_grammar():
    """Seven numbers and a quoted text per line (ColorLabelTable::LoadFromFile)."""
    rows = [shlex.split(line) for line in itk_snap().splitlines() if not line.startswith("#")]
    assert all(len(row) == 8 for row in rows)
    table = {int(row[0]): (row[7], tuple(map(int, row[1:4])), row[4:7]) for row in rows}
    assert table.pop(0) == ("Clear Label", (0, 0, 0), ["0", "0", "0"])
    assert table == {
        value: (one.name, one.rgb, ["1", "1", "1"]) for value, one in STRUCTURES.items()
    }


def test_slicers_file_by_its_own_grammar():
    """A value, a name without blanks, four numbers (vtkMRMLColorTableStorageNode)."""
    rows = [line.split() for line in slicer().splitlines() if not line.startswith("#")]
    assert all(len(row) == 6 for row in rows)
    assert [int(row[0]) for row in rows] == list(range(15))
    assert {int(row[0]): row[1].replace("_", " ") for row in rows[1:]} == NAMES
    assert {int(row[0]): tuple(map(int, row[2:5])) for row in rows[1:]} == {
        value: one.rgb for value, one in STRUCTURES.items()
    }


def nifti_2_header(header: NiftiHeader) -> NiftiHeader:
    volume = nib.Nifti2Image(np.zeros(header.grid.shape[::-1], np.uint8), np.diag((1, 2, 5, 1)))
    return NiftiHeader.parse(volume.to_bytes()[:540])


@pytest.fixture(params=[1, 2])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[int, Path, Path]:
    """The same labels with and without names, as NIfTI-1 and NIfTI-2."""
    header = read_volume(write_nifti(tmp_path / "a.nii", scan_voxels())).header
    if request.param == 2:
        header = nifti_2_header(header)
    labels = (np.arange(336).reshape(6, 7, 8) % 15).astype(np.uint8)
    write_labels(tmp_path / "with.nii.gz", labels, header)
    write_labels(tmp_path / "without.nii.gz", labels, header, label_table=False)
    return request.param, tmp_path / "with.nii.gz", tmp_path / "without.nii.gz"


def test_nibabel_reads_names_and_colours(written: tuple[int, Path, Path]):
    _, path, bare = written
    (extension,) = nib.load(path).header.extensions
    assert extension.get_code() == 30
    root = ET.fromstring(extension.content)
    assert root.tag == "CaretExtension"
    assert root.findtext("VolumeInformation/VolumeType") == "Label"
    labels = root.findall("VolumeInformation/LabelTable/Label")
    table = {int(one.get("Key", "")): one for one in labels}
    assert {key: one.text for key, one in table.items() if key} == NAMES
    assert table[0].get("Alpha") == "0"
    for value, one in STRUCTURES.items():
        parts = [float(table[value].get(part, "")) for part in ("Red", "Green", "Blue")]
        assert tuple(round(255 * part) for part in parts) == one.rgb
    assert not nib.load(bare).header.extensions


def test_only_the_voxels_offset_and_the_extension_differ(written: tuple[int, Path, Path]):
    version, path, bare = written
    data, short = gzip.decompress(path.read_bytes()), gzip.decompress(bare.read_bytes())
    size = HEADER_BYTES[version]
    at = slice(108, 112) if version == 1 else slice(168, 176)  # vox_offset
    assert data[size : size + 4] == b"\1\0\0\0" and short[size : size + 4] == b"\0\0\0\0"
    assert data[: at.start] + data[at.stop : size] == short[: at.start] + short[at.stop : size]
    offset = size + 4 + int.from_bytes(data[size + 4 : size + 8], "little")
    assert offset % 16 == 0
    assert data[offset:] == short[size + 4 :]
    # Nothing in a text that a program might take for the end of it.
    assert re.fullmatch(rb"[\n\x20-\x7e]+", data[size + 12 : offset])


def test_readers_find_the_voxels_behind_it(written: tuple[int, Path, Path]):
    version, path, bare = written
    labels, grid = read_labels(bare)
    again, same = read_labels(path)
    np.testing.assert_array_equal(again, labels)
    assert same == grid
    with_names, without = nib.load(path), nib.load(bare)
    np.testing.assert_array_equal(np.asarray(with_names.dataobj), labels.T)
    np.testing.assert_array_equal(with_names.affine, without.affine)
    if version == 1:  # ITK, and with it SimpleITK, Slicer and ITK-SNAP, reads no NIfTI-2
        image, plain = sitk.ReadImage(str(path)), sitk.ReadImage(str(bare))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(image), labels)
        for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(image, what)() == getattr(plain, what)()
