"""A node between senders and a real PACS, and what must be so when all is done."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread

from tests.node.hospital import dcmtk
from tests.node.hospital.orthanc import Orthanc
from tests.node.hospital.ports import free_port, wait_until
from tests.node.hospital.running import ROOT, Node
from tests.node.hospital.studies import SECRETS, Answers, Study


@dataclass
class World:
    """A started node, the Orthanc that it sends to, and the right answers."""

    folder: Path
    node: Node
    orthanc: Orthanc
    answers: Answers
    _numbers: Iterator[int]
    _checked: set[str] = field(default_factory=set)

    def scratch(self) -> Path:
        """A new folder."""
        return self.folder / "scratch" / str(next(self._numbers))

    def wait_for_results(self, studies: Sequence[Study], seconds: float) -> None:
        """Until the PACS has a result of each study, and the node nothing left to do."""
        wanted = {study.uid for study in studies}

        def state() -> str:
            lacking = sorted(wanted - self.orthanc.series().keys())
            return f"{len(lacking)} lack, {lacking[:3]} ...; {self.node.state()}"

        wait_until(
            f"results of {len(wanted)} studies",
            lambda: self.node.idle() and wanted <= self.orthanc.series().keys(),
            seconds,
            0.3,
            state,
        )

    def check_results(self, studies: Sequence[Study], by_dcmqi: int = 2) -> None:
        """Each study has one result: its own labels, found by C-FIND, readable by others.

        Args:
            studies: all that the node was sent since the last check.
            by_dcmqi: so many are also read by dcmqi.

        Raises:
            AssertionError: a result is missing, there twice, another's, or unreadable; the node
                has left something behind, or has said something about a patient.
        """
        self._checked |= {study.uid for study in studies}
        found = self.orthanc.series()
        assert {uid: len(names) for uid, names in found.items()} == dict.fromkeys(self._checked, 1)
        for number, study in enumerate(studies):
            path = self.orthanc.save(found[study.uid][0], self.scratch() / "seg.dcm")
            header = dcmread(path, stop_before_pixels=True)
            assert header.StudyInstanceUID == study.uid
            self.answers.check(path, study, self.scratch() if number < by_dcmqi else None)
            self._check_found(study, str(header.SOPInstanceUID))
        self.check_clean()

    def _check_found(self, study: Study, instance: str) -> None:
        """C-FIND at the level of series and of instances."""
        keys = {"StudyInstanceUID": study.uid, "Modality": "SEG"}
        folder = self.scratch()
        series = dcmtk.findscu(self.orthanc.port, folder, "SERIES", SeriesInstanceUID="", **keys)
        assert len(series) == 1, study.uid
        uid = str(series[0].SeriesInstanceUID)
        found = dcmtk.findscu(
            self.orthanc.port, folder, "IMAGE", SeriesInstanceUID=uid, SOPInstanceUID="", **keys
        )
        assert [str(answer.SOPInstanceUID) for answer in found] == [instance]

    def check_clean(self) -> None:
        """Nothing but finished studies in the spool, and nothing about patients in the log."""
        spool = self.node.spool()
        assert (spool["failed"], self.node.idle()) == (0, True), spool
        assert {name.rpartition(".")[0] for name in self.node.in_place("done")} == self._checked
        assert [path for path in self.node.store.rglob("*.part*") if path.is_file()] == []
        check_silence(self.node)


def check_silence(node: Node) -> None:
    """Log, status page, health and metrics name no patient; the log is JSON, line by line."""
    assert node.log()
    pages = [node.http(page)[1] for page in ("/", "/health", "/metrics")] if node.running() else []
    for text in (node.log_text(), *pages):
        assert [secret for secret in SECRETS if secret in text] == []


@contextmanager
def world(
    folder: Path, model: Path | str, *, start: bool = True, lua: Path | None = None, **settings: Any
) -> Iterator[World]:
    """A node and an Orthanc in ``folder``, both started; ended whatever happens.

    Args:
        folder: an empty one.
        model: as ``--model``.
        start: whether the node is started, too.
        lua: a script for Orthanc; it is written before, with the node's port unknown to it.
        settings: of the node, by section; ``more_destinations`` beside Orthanc, or ``send``
            instead of it; ``pacs``: settings of Orthanc.
    """
    folder.mkdir(parents=True, exist_ok=True)
    more, pacs = settings.pop("more_destinations", []), settings.pop("pacs", {})
    send = settings.pop("send", None)
    port = free_port()
    orthanc = Orthanc(folder / "orthanc", port, lua, **pacs)
    destinations = [f"ORTHANC@127.0.0.1:{orthanc.port}", *more]
    node = Node(folder, model, destinations if send is None else send, port=port, **settings)
    try:
        orthanc.start()
        if start:
            node.start()
        answers = Answers(Path(model) if Path(model).is_dir() else ROOT / "weights" / model)
        yield World(folder, node, orthanc, answers, itertools.count())
        status = node.stop()
        assert status in (0, 143), (status, node.state())
    finally:
        if node.running():
            node.kill()
        orthanc.stop()


@contextmanager
def scratch_world(model: Path | str, logs: Path, **settings: Any) -> Iterator[World]:
    """A world in a folder of its own, removed at the end, all but what it has logged."""
    with tempfile.TemporaryDirectory(prefix="abdobox-node-") as folder:
        try:
            with world(Path(folder), model, **settings) as there:
                yield there
        finally:
            logs.mkdir(parents=True, exist_ok=True)
            for name, path in {"node": "log", "orthanc": "orthanc/log"}.items():
                if (Path(folder) / path).is_file():
                    shutil.copyfile(Path(folder) / path, logs / f"{name}.log")
