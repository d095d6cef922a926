"""The whole way of a study, with a real model in a real working process."""

from __future__ import annotations

import io
import json
from pathlib import Path

from node.log import Log
from node.node import Node
from node.settings import HttpSettings, Settings, SpoolSettings, StudySettings, WorkSettings
from tests.node.pacs import LABELMAP, Archive, send, study, study_uid


def test_a_study_comes_back_segmented(tiny_model: Path, tmp_path: Path):
    archive, lines = Archive(), io.StringIO()
    with archive.listening():
        settings = Settings(
            port=0,
            bind="127.0.0.1",
            store=str(tmp_path),
            allow=("PACS@127.0.0.1",),
            send=(f"ARCHIVE@127.0.0.1:{archive.port}",),
            study=StudySettings(quiet_seconds=1.0),
            work=WorkSettings(model=str(tiny_model), device="cpu"),
            spool=SpoolSettings(min_free_bytes=0),
            http=HttpSettings(port=0),
        )
        node = Node(settings, Log(lines))
        node.start()
        try:
            assert send(node.port, study(1)) == [0x0000] * 12
            archive.wait(lambda: bool(archive.taken), 120)
        finally:
            node.stop()
    (seg,) = archive.taken
    assert seg.SOPClassUID == LABELMAP
    assert seg.StudyInstanceUID == study_uid(1)
    events = [json.loads(line)["event"] for line in lines.getvalue().splitlines()]
    assert [e for e in events if e in ("study_taken", "work_done", "sent", "study_done")] == [
        "study_taken",
        "work_done",
        "sent",
        "study_done",
    ]
    assert "Doe" not in lines.getvalue()
