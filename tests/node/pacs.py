"""The other side: a PACS that sends studies and takes results, by pynetdicom."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.presentation import build_context

from tests.inference.scan.dicom.series_maker import Geometry, data_set, encoded, make_slices

LABELMAP = "1.2.840.10008.5.1.4.1.1.66.7"
RLE = "1.2.840.10008.1.2.5"
GEOMETRY = Geometry(along=tuple(8.0 * k for k in range(12)), spacing=(5.2, 4.8), shape=(24, 28))


def study(number: int, geometry: Geometry = GEOMETRY) -> list[Dataset]:
    """A made CT study of one series; UIDs and nothing else by its number."""
    found = []
    for k, place in enumerate(make_slices(geometry), 1):
        ds = data_set(place, k)
        ds.StudyInstanceUID = study_uid(number)
        ds.SeriesInstanceUID = f"{study_uid(number)}.1"
        ds.SOPInstanceUID = f"{study_uid(number)}.1.{k}"
        found.append(dcmread(io.BytesIO(encoded(ds))))
    return found


def study_uid(number: int) -> str:
    """Of :func:`study`."""
    return f"1.2.826.0.1.3680043.10.2.{number}"


def send(
    port: int,
    datasets: Iterable[Dataset],
    aet: str = "PACS",
    called: str = "ABDOBOX",
    syntaxes: tuple[str, ...] = (ExplicitVRLittleEndian,),
) -> list[int | None]:
    """C-STORE them over one association. Returns each one's status; None: no answer."""
    datasets = list(datasets)
    entity = AE(aet)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    for sop_class in dict.fromkeys(ds.SOPClassUID for ds in datasets):
        entity.add_requested_context(sop_class, list(syntaxes))
    association = entity.associate("127.0.0.1", port, ae_title=called)
    statuses: list[int | None] = []
    for ds in datasets:
        if not association.is_established:
            statuses.append(None)
            continue
        statuses.append(association.send_c_store(ds).get("Status"))
    if association.is_established:
        association.release()
    return statuses


@dataclass
class Archive:
    """A C-STORE SCP that keeps what it takes.

    Attributes:
        taken: every data set, in the order in which they came.
        answer: the status for each.
    """

    aet: str = "ARCHIVE"
    taken: list[Dataset] = field(default_factory=list)
    answer: Callable[[Dataset], int] = lambda ds: 0x0000
    port: int = 0
    came: threading.Condition = field(default_factory=threading.Condition)

    def of_study(self, uid: str) -> list[Dataset]:
        """What was taken of a study."""
        return [ds for ds in self.taken if ds.StudyInstanceUID == uid]

    def wait(self, ready: Callable[[], bool], seconds: float = 60.0) -> None:
        """Until something is true of what was taken."""
        with self.came:
            assert self.came.wait_for(ready, seconds), f"took {len(self.taken)}"

    @contextmanager
    def listening(self, port: int = 0):
        """While it listens, on a port of its own or on this one."""
        entity = AE(self.aet)
        entity.supported_contexts = [
            build_context(c.abstract_syntax, [*c.transfer_syntax, RLE])
            for c in AllStoragePresentationContexts
        ]

        def store(event: evt.Event) -> int:
            ds = event.dataset
            ds.file_meta = event.file_meta
            with self.came:
                status = self.answer(ds)
                if status == 0x0000:
                    self.taken.append(ds)
                self.came.notify_all()
            return status

        server = entity.start_server(
            ("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)]
        )
        self.port = server.server_address[1]
        try:
            yield self
        finally:
            server.shutdown()


def files(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]
