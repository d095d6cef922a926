"""TLS both ways, with certificates made by OpenSSL's command."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import CTImageStorage, Verification

from node.checks import problems
from node.peers import Destination
from node.sending import StoreTarget, StowTarget, UnreachableError
from node.settings import AssociationSettings, Settings, StowSettings, TlsSettings
from node.tls import server_context
from tests.node.listening import Listening, local, quick
from tests.node.pacs import study
from tests.node.running import ROOT, until

# pynetdicom's own server leaves sockets open whose peer has gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem; node.pem and node.key signed by it; other.pem and other.key, by nobody."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("pems")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    name = ("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    for who in ("ca", "other"):
        words = ("-x509", *key, "-keyout", f"{who}.key", "-out", f"{who}.pem")
        openssl("req", *words, "-subj", f"/CN={who}", *(name if who == "other" else ()))
    openssl("req", *key, "-keyout", "node.key", "-out", "node.csr", "-subj", "/CN=node", *name)
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    openssl(
        "x509", "-req", "-in", "node.csr", "-out", "node.pem", *signing, "-copy_extensions", "copy"
    )
    return folder


def tls(pems: Path, who: str = "node", ca: bool = True) -> TlsSettings:
    return TlsSettings(
        str(pems / f"{who}.pem"), str(pems / f"{who}.key"), str(pems / "ca.pem") if ca else ""
    )


def listening(root: Path, settings: TlsSettings, seconds: float = 20) -> Listening:
    root.mkdir()
    one = local(root, tls=settings, associations=quick(seconds))
    assert problems(one) == []
    return Listening(root, one)


def echo(port: int, context: ssl.SSLContext | None, name: str = "localhost") -> bool:
    entity = AE("PACS")
    entity.acse_timeout = entity.connection_timeout = 20
    entity.add_requested_context(Verification)
    association = entity.associate(
        "127.0.0.1", port, ae_title="ABDOBOX", tls_args=(context, name) if context else None
    )
    if not association.is_established:
        line = association.dul.socket
        if line is not None and line.socket is not None:
            line.socket.close()  # which pynetdicom leaves to the garbage collector
        return False
    try:
        return association.send_c_echo().get("Status") == 0
    finally:
        association.release()


def client(pems: Path, who: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pems / "ca.pem"))
    if who:
        context.load_cert_chain(pems / f"{who}.pem", pems / f"{who}.key")
    return context


def test_senders_show_a_certificate_where_there_is_a_ca(pems: Path, tmp_path: Path):
    one = listening(tmp_path / "spool", tls(pems), 2)
    try:
        assert echo(one.port, client(pems, "node"))
        assert not echo(one.port, client(pems, None))
        assert not echo(one.port, client(pems, "other"))
        assert not echo(one.port, None)
        lines = one.lines.getvalue
        until(lambda: lines().count("connection_refused") == 3)
    finally:
        one.receiver.stop()
        one.spool.leave()
    said = [json.loads(line) for line in lines().splitlines()]
    reasons = "\n".join(line["reason"] for line in said if line["event"] == "connection_refused")
    assert "TLS has failed (PEER_DID_NOT_RETURN_A_CERTIFICATE); check that" in reasons
    assert "TLS has failed (its certificate does not hold: " in reasons


def test_one_who_does_not_shake_hands_holds_up_nobody(pems: Path, tmp_path: Path):
    one = listening(tmp_path / "spool", tls(pems, ca=False))
    try:
        with socket.create_connection(("127.0.0.1", one.port)):
            assert echo(one.port, client(pems, None))
    finally:
        one.receiver.stop()
        one.spool.leave()


@pytest.mark.slow
@pytest.mark.parametrize(("who", "taken"), [("node", True), ("other", False)])
def test_a_destination_shows_one_too(pems: Path, tmp_path: Path, who: str, taken: bool):
    (ds, *_) = study(1)
    ds.save_as(tmp_path / "a.dcm")
    entity, came = AE("ARCHIVE"), []
    entity.add_supported_context(CTImageStorage)

    def store(event: evt.Event) -> int:
        came.append(event.request.AffectedSOPInstanceUID)
        return 0

    server = entity.start_server(
        ("127.0.0.1", 0),
        block=False,
        evt_handlers=[(evt.EVT_C_STORE, store)],
        ssl_context=server_context(tls(pems, who, ca=False)),
    )
    try:
        to = Destination("ARCHIVE", "localhost", server.server_address[1])
        settings = Settings(tls=tls(pems), associations=AssociationSettings(timeout_seconds=10))
        target = StoreTarget(to, settings)
        if taken:
            target.send([tmp_path / "a.dcm"])
        else:
            with pytest.raises(UnreachableError):
                target.send([tmp_path / "a.dcm"])
        assert came == ([ds.SOPInstanceUID] if taken else [])
    finally:
        server.shutdown()
    until(lambda: not server.active_associations)


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are verified as from Python 3.13 on."""
    usual = ssl.create_default_context

    def create(*words: object, **said: object) -> ssl.SSLContext:
        context = usual(*words, **said)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", create)


@pytest.mark.usefixtures("strict")
def test_a_certificate_that_does_not_hold_is_one_clear_line(pems: Path, tmp_path: Path):
    """Of a CA without key usage: what small hospitals make."""
    one = listening(tmp_path / "spool", tls(pems, ca=False))
    (ds, *_) = study(1)
    ds.save_as(tmp_path / "a.dcm")
    settings = Settings(tls=tls(pems), associations=AssociationSettings(timeout_seconds=10))
    target = StoreTarget(Destination("ABDOBOX", "localhost", one.port), settings)
    try:
        with pytest.raises(UnreachableError) as error:
            target.send([tmp_path / "a.dcm"])
    finally:
        one.receiver.stop()
        one.spool.leave()
    assert str(error.value) == (
        "TLS has failed (its certificate does not hold: CA cert does not include key usage "
        "extension); deploy/node.md says how to make one that does"
    )


def test_so_it_is_with_stow(pems: Path, tmp_path: Path):
    pytest.importorskip("dicomweb_client")
    study(1)[0].save_as(tmp_path / "a.dcm")
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.handle_error = lambda *args: None
    context = server_context(tls(pems, "other", ca=False))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        stow = StowSettings(f"https://localhost:{server.server_address[1]}")
        with pytest.raises(UnreachableError, match="its certificate does not hold"):
            StowTarget(stow, 20, str(pems / "ca.pem")).send([tmp_path / "a.dcm"])
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.usefixtures("strict")
def test_certificates_made_as_the_manual_says_hold(tmp_path: Path):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    text = (ROOT / "deploy" / "node.md").read_text()
    (commands,) = [one for one in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "-x509" in one]
    subprocess.run(["sh", "-e", "-c", commands], cwd=tmp_path, check=True, capture_output=True)
    one = listening(tmp_path / "spool", tls(tmp_path))
    try:
        assert echo(one.port, client(tmp_path, "node"), "node.hospital")
        assert not echo(one.port, client(tmp_path, "node"), "another.hospital")
    finally:
        one.receiver.stop()
        one.spool.leave()
