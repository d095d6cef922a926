"""A receiver of the node by itself, and who associates with it."""

from __future__ import annotations

import io
from pathlib import Path

from pynetdicom import AE
from pynetdicom.sop_class import Verification

from node.durable import free_bytes
from node.log import Log
from node.metrics import Metrics
from node.receiver import Receiver
from node.receiving import Receiving
from node.settings import AssociationSettings, Settings
from node.spool import Spool


class Listening:
    """A receiver over a spool of its own; nothing is worked on."""

    def __init__(self, root: Path, settings: Settings, free: int | None = 10**12) -> None:
        self.free = free
        self.lines = io.StringIO()
        self.spool, self.metrics = Spool(root), Metrics()
        self.receiving = Receiving(self.spool, settings, self._free)
        log = Log(self.lines)
        self.receiver = Receiver(settings, self.spool, self.receiving, log, self.metrics)
        self.port = self.receiver.start()

    def _free(self, folder: Path) -> int:
        return free_bytes(folder) if self.free is None else self.free

    def stored(self) -> list[Path]:
        return sorted((self.spool.root / "receiving").glob("*/*"))

    def everything(self) -> list[Path]:
        """All files but the node's own."""
        root = self.spool.root
        return [p for p in root.rglob("*") if p.is_file() and p.parent.name != "nodes"]


def local(store: Path, **said: object) -> Settings:
    """Settings of a node on this machine, to which one PACS here may send."""
    usual = {"port": 0, "bind": "127.0.0.1", "allow": ("PACS@127.0.0.1",)}
    return Settings(**{**usual, "store": str(store), **said})


def quick(seconds: float = 1.0, **said: object) -> AssociationSettings:
    return AssociationSettings(timeout_seconds=seconds, **said)


def associated(port: int, aet: str = "PACS", called: str = "ABDOBOX"):
    entity = AE(aet)
    entity.add_requested_context(Verification)
    return entity.associate("127.0.0.1", port, ae_title=called)
