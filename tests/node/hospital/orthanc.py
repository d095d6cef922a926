"""A real Orthanc, Debian's package, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.node.hospital.ports import free_port, wait_until

MISSING = "no Orthanc: apt-get install orthanc"


def program() -> str | None:
    """Where Orthanc is; its service's folder is seldom on a user's path."""
    return shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Orthanc:
    """A PACS: takes what it is sent, and knows the node and DCMTK's findscu.

    Args:
        folder: for its database, settings and log.
        node_port: where the node listens.
        lua: a script that it runs, e.g. for routing.
        more: settings of its own.
    """

    aet = "ORTHANC"

    def __init__(self, folder: Path, node_port: int, lua: Path | None = None, **more: Any) -> None:
        self.folder = folder
        self.port, self.http_port = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._studies: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "Name": "PACS",
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "Plugins": [],
            "LuaScripts": [str(lua)] if lua else [],
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": self.aet,
            "DicomPort": self.port,
            # Label map SEG (Supplement 243, 2024) is younger than Debian's Orthanc.
            "UnknownSopClassAccepted": True,
            "DicomModalities": {
                "abdobox": ["ABDOBOX", "127.0.0.1", node_port],
                "findscu": ["FINDSCU", "127.0.0.1", 104],
            },
            "StableAge": 1,
            **more,
        }
        (folder / "orthanc.json").write_text(json.dumps(settings, indent=1))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        tool = program()
        assert tool is not None, MISSING
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [tool, str(self.folder / "orthanc.json")], stdout=log, stderr=log, cwd=self.folder
            )
        wait_until("Orthanc answers", self._answers, 60)

    def stop(self) -> None:
        """Stop it; what it holds stays."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            return "Version" in self.get("/system")
        except OSError:
            return False

    def request(self, path: str, body: bytes | None = None) -> bytes:
        """One call of its REST API: GET, or POST where there is a body."""
        address = f"http://127.0.0.1:{self.http_port}{path}"
        with urllib.request.urlopen(urllib.request.Request(address, body), timeout=60) as answer:
            return bytes(answer.read())

    def get(self, path: str) -> Any:
        """GET of JSON."""
        return json.loads(self.request(path))

    def post(self, path: str, value: Any) -> Any:
        """POST of JSON, answered with JSON."""
        return json.loads(self.request(path, json.dumps(value).encode()))

    def add(self, paths: tuple[Path, ...]) -> None:
        """Put DICOM files in by REST."""
        for path in paths:
            self.request("/instances", path.read_bytes())

    def series(self, modality: str = "SEG") -> dict[str, list[str]]:
        """StudyInstanceUID to Orthanc's names of the instances in its series of a modality."""
        query = {"Level": "Series", "Query": {"Modality": modality}, "Expand": True}
        found: dict[str, list[str]] = {}
        for entry in self.post("/tools/find", query):
            uid = self._study(entry["ParentStudy"])
            found.setdefault(uid, []).extend(entry["Instances"])
        return found

    def save(self, instance: str, path: Path) -> Path:
        """An instance as a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.request(f"/instances/{instance}/file"))
        return path

    def _study(self, name: str) -> str:
        if name not in self._studies:
            tags = self.get(f"/studies/{name}")["MainDicomTags"]
            self._studies[name] = str(tags["StudyInstanceUID"])
        return self._studies[name]
