"""Made CT studies on disk, many of them quickly, and what the node has to answer to each."""

from __future__ import annotations

import functools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from inference.scan.volume import read_volume
from inference.segmenter import Segmenter
from phantom import make_phantom
from tests.inference.scan.dicom.oracles import by_dcmqi, by_highdicom
from tests.inference.scan.dicom.series_maker import ROOT, of_volume, write_series

SHAPE, SPACING = (20, 40, 48), (10.0, 8.0, 8.0)
KINDS = 4  # patients whose anatomy differs: labels of another one would be seen
# What no log line, status page or metric may hold.
SECRETS = ("Doe", "Jane", "PATIENT", "19600101", "ACCESSION")
_FIRST = 1_000_000  # numbers of equal width, so that a study is made of another by its bytes


@dataclass(frozen=True)
class Study:
    """One study of one CT series.

    Attributes:
        uid: StudyInstanceUID.
        folder: where its files lie.
        paths: of its instances.
        kind: which patient it shows.
    """

    uid: str
    folder: Path
    paths: tuple[Path, ...]
    kind: int | str


@functools.cache
def _template(kind: int, slices: int) -> tuple[bytes, ...]:
    """The files of the study with the first number."""
    import tempfile

    phantom = make_phantom((slices, *SHAPE[1:]), SPACING, seed=kind)

    def change(data: Dataset, _: int) -> None:
        data.StudyInstanceUID = f"{ROOT}.{_FIRST}.2"
        data.FrameOfReferenceUID = f"{ROOT}.{_FIRST}.3"
        data.PatientID, data.AccessionNumber = f"PATIENT{_FIRST}", f"ACCESSION{_FIRST}"

    with tempfile.TemporaryDirectory() as folder:
        paths = write_series(
            Path(folder),
            of_volume(phantom.image_ZYX, SPACING, phantom.grid.origin),
            change=change,
            series=str(_FIRST),
        )
        return tuple(path.read_bytes() for path in paths)


def write_study(folder: Path, number: int, slices: int = SHAPE[0]) -> Study:
    """The study ``number``: a phantom of one of :data:`KINDS` patients, UIDs of its own."""
    here = folder / f"study{number}"
    here.mkdir(parents=True)
    kind, paths = number % KINDS, []
    for k, data in enumerate(_template(kind, slices)):
        paths.append(here / f"IM{k:04}")
        paths[-1].write_bytes(data.replace(b"%d" % _FIRST, b"%d" % (_FIRST + number)))
    return Study(f"{ROOT}.{_FIRST + number}.2", here, tuple(paths), kind)


def write_studies(folder: Path, count: int, first: int = 0) -> list[Study]:
    """``count`` studies, numbered from ``first`` on."""
    return [write_study(folder, first + number) for number in range(count)]


def real_studies(shared: Path, folder: Path) -> list[Study]:
    """The real series beside the repository: one in JPEG 2000, one zipped, explicit VR."""
    with zipfile.ZipFile(shared / "dicom" / "crlm_ct_1004.zip") as archive:
        archive.extractall(folder / "crlm")
    studies = []
    for place in (shared / "dicom" / "totalsegmentator_slab", folder / "crlm"):
        found = sorted(path for path in place.rglob("*") if _is_dicom(path))
        paths = tuple(_with_its_class(path, folder / "whole") for path in found)
        uid = str(dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
        studies.append(Study(uid, place, paths, place.name))
    return studies


def _with_its_class(path: Path, folder: Path) -> Path:
    """The file, or a copy with what an anonymiser has emptied and no sender goes without: the SOP
    Class and the UID of its own meta group, and UIDs of study and series, one of each a folder."""
    dataset = dcmread(path)
    if dataset.SOPClassUID:
        return path
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    for level in ("Study", "Series"):
        setattr(
            dataset, f"{level}InstanceUID", generate_uid(entropy_srcs=[level, path.parent.name])
        )
    folder.mkdir(exist_ok=True)
    dataset.save_as(folder / path.name)
    return folder / path.name


def _is_dicom(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


class Answers:
    """What the node has to send back: labels that :class:`Segmenter` gives for the same files."""

    def __init__(self, model: Path) -> None:
        self._segmenter = Segmenter.load(model, device="cpu")
        self._labels: dict[int | str, np.ndarray] = {}

    def labels(self, study: Study) -> np.ndarray:
        """(z, y, x) on the study's volume; once for each patient."""
        if study.kind not in self._labels:
            self._labels[study.kind] = self._segmenter.segment(study.folder).labels
        return self._labels[study.kind]

    def check(self, seg: Path, study: Study, scratch: Path | None = None) -> None:
        """A SEG holds the study's labels, on its slices; by dcmqi too where ``scratch`` is given.

        Raises:
            AssertionError: it does not.
        """
        labels = self.labels(study)
        volume = read_volume(study.folder)
        assert volume.source is not None
        expected = volume.source.labels_on_frames(labels)
        assert expected.any(), "labels without any organ would prove nothing"
        np.testing.assert_array_equal(by_highdicom(seg, volume.source), expected)
        if scratch is not None:
            image, segments = by_dcmqi(seg, scratch)
            import SimpleITK as sitk

            found = sitk.GetArrayFromImage(image)
            values, counts = np.unique(found[found > 0], return_counts=True)
            wanted = np.unique(expected[expected > 0], return_counts=True)
            np.testing.assert_array_equal(values, wanted[0])
            np.testing.assert_array_equal(counts, wanted[1])
            assert set(values.tolist()) <= segments.keys()


def instance_uids(study: Study) -> Iterator[str]:
    """SOPInstanceUID of each of its files."""
    for path in study.paths:
        yield str(dcmread(path, stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
                  .SOPInstanceUID)  # fmt: skip
