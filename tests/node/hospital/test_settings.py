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


EXTENSIONS = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[peer]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
subjectAltName = IP:127.0.0.1
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def openssl(*words: object) -> None:
    done = subprocess.run(
        ["openssl", *map(str, words)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def certificate(folder: Path, name: str, authority: str = "") -> None:
    """PEM files of a certificate for 127.0.0.1 and its key, signed by ``authority`` or itself.

    RSA, which every profile of every DCMTK takes; extensions as Python 3.13 asks for them.
    """
    cert, key, asked = (folder / f"{name}.{kind}" for kind in ("pem", "key", "csr"))
    (folder / "extensions").write_text(EXTENSIONS)
    config = ["-config", folder / "extensions"]
    new = ["-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", f"/CN={name}", *config]
    if not authority:
        openssl("req", "-x509", *new, "-days", 2, "-out", cert, "-extensions", "authority")
        return
    openssl("req", *new, "-out", asked)
    by = ["-CA", folder / f"{authority}.pem", "-CAkey", folder / f"{authority}.key"]
    more = ["-CAcreateserial", "-extfile", folder / "extensions", "-extensions", "peer"]
    openssl("x509", "-req", "-in", asked, "-days", 2, "-out", cert, *by, *more)


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
    assert storescu("pacs") == 0, world.node.state()
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
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
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
