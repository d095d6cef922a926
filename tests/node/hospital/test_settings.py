"""TLS, and Orthanc with the settings that deploy/ has for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.node.hospital import dcmtk
from tests.node.hospital.orthanc import program
from tests.node.hospital.ports import free_port, wait_until
from tests.node.hospital.running import ROOT
from tests.node.hospital.studies import write_studies
from tests.node.hospital.world import World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
Make = Callable[..., World]


def openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def certificate(folder: Path, name: str, authority: str = "") -> tuple[Path, Path]:
    """PEM files of a certificate for 127.0.0.1 and its key, signed by ``authority`` or itself."""
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    by = ["-CA", folder / f"{authority}.pem", "-CAkey", folder / f"{authority}.key"]
    more = ["-addext", "subjectAltName=IP:127.0.0.1"] if authority else []
    openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", 2, "-subj", f"/CN={name}", "-out", cert, "-keyout", key,
        *(by if authority else []), *more,
    )  # fmt: skip
    return cert, key


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder: an authority ``ca``, ``node`` and ``pacs`` signed by it, and ``stranger``."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    folder = tmp_path / "keys"
    folder.mkdir()
    certificate(folder, "ca")
    certificate(folder, "stranger")
    for name in ("node", "pacs"):
        certificate(folder, name, "ca")
    return folder


def test_tls(make_world: Make, keys: Path, tmp_path: Path):
    """Who has no key that the authority has signed gets no association; results go out by TLS."""
    files = {"certificate": "node.pem", "key": "node.key", "ca": "ca.pem"}
    world = make_world(
        tls={key: str(keys / name) for key, name in files.items()}, pacs=tls_of_orthanc(keys)
    )
    (study,) = write_studies(tmp_path / "sent", 1)

    def storescu(name: str) -> int:
        how = ["+tls", str(keys / f"{name}.key"), str(keys / f"{name}.pem"), "+cf",
               str(keys / "ca.pem")]  # fmt: skip
        return dcmtk.storescu(world.node.port, study.paths, *how).returncode

    assert dcmtk.storescu(world.node.port, study.paths, "-to", "5", "-ta", "5").returncode != 0
    assert storescu("stranger") != 0
    assert sum(world.node.spool().values()) == 0
    assert storescu("pacs") == 0
    world.wait_for_results([study], 300)
    found = world.orthanc.series()
    path = world.orthanc.save(found[study.uid][0], world.scratch() / "seg.dcm")
    world.answers.check(path, study)


def tls_of_orthanc(keys: Path) -> dict[str, Any]:
    return {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(keys / "pacs.pem"),
        "DicomTlsPrivateKey": str(keys / "pacs.key"),
        "DicomTlsTrustedCertificates": str(keys / "ca.pem"),
    }


@pytest.mark.usefixtures("_pacs")
def test_orthanc_takes_the_settings_of_the_compose_file(tmp_path: Path):
    """deploy/orthanc.json, with this machine's paths and ports; the password by environment."""
    settings = json.loads((ROOT / "deploy" / "orthanc.json").read_text(encoding="utf-8"))
    port, db = free_port(), str(tmp_path / "db")
    settings |= {"StorageDirectory": db, "IndexDirectory": db, "HttpPort": port}
    settings |= {"DicomPort": free_port(), "LuaScripts": [str(ROOT / "deploy" / "orthanc.lua")]}
    file = tmp_path / "orthanc.json"
    file.write_text(json.dumps(settings))
    tool = program()
    assert tool is not None
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [tool, str(file)], stdout=log, stderr=log, cwd=tmp_path,
            env={**os.environ, "ORTHANC_PASSWORD": "secret"},
        )  # fmt: skip
    try:
        wait_until("Orthanc asks for a password", lambda: ask(port, "") == 401, 60)
        assert ask(port, "abdobox:wrong") == 401
        assert ask(port, "abdobox:secret") == 200
    finally:
        process.terminate()
        process.wait(20)
    said = (tmp_path / "log").read_text()
    assert [line for line in said.splitlines() if line.startswith("E")] == []


def ask(port: int, user: str) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/modalities/abdobox/configuration")
    if user:
        request.add_header("Authorization", f"Basic {b64encode(user.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0
