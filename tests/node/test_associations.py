"""Who may associate, for what and how often, and what hostile senders get."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from copy import deepcopy
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.presentation import build_context, negotiate_as_acceptor

from node.contexts import CT_CLASSES, CT_SYNTAXES, accepted_contexts
from node.settings import AssociationSettings
from tests.node.listening import associated, quick
from tests.node.pacs import send, study
from tests.node.running import until

# pynetdicom's own requestor leaves sockets open whose peer has gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def test_echo(listen):
    association = associated(listen().port)
    assert association.send_c_echo().Status == 0
    association.release()


@pytest.mark.parametrize(("aet", "called", "reason"), [("OTHER", "ABDOBOX", 3), ("PACS", "X", 7)])
def test_titles_that_are_not_known_are_rejected(listen, aet: str, called: str, reason: int):
    one = listen()
    association = associated(one.port, aet, called)
    assert association.is_rejected
    primitive = association.acceptor.primitive
    assert (primitive.result, primitive.result_source, primitive.diagnostic) == (1, 1, reason)
    until(lambda: "association_rejected" in one.lines.getvalue())
    assert one.metrics.rejected.values() == {"": 1}


def test_an_address_that_is_nobodys_is_closed(listen):
    one = listen(allow=("PACS@10.1.2.3",))
    with socket.create_connection(("127.0.0.1", one.port)) as stranger:
        stranger.settimeout(20)
        assert stranger.recv(1) == b""
    assert "address not allowed" in one.lines.getvalue()


def test_a_title_from_another_ones_address_is_rejected(listen):
    one = listen(allow=("PACS@10.1.2.3", "CT@127.0.0.1"))
    assert associated(one.port).is_rejected
    assert associated(one.port, "CT").is_established


def test_associations_are_limited(listen):
    one = listen(associations=AssociationSettings(max=2))
    taken = [associated(one.port) for _ in range(2)]
    refused = associated(one.port)
    assert refused.is_rejected
    assert refused.acceptor.primitive.diagnostic == 2  # local limit exceeded
    for association in taken:
        association.release()
    until(lambda: one.receiver.associations() == 0)
    associated(one.port).release()


def test_associations_of_a_minute_are_limited(listen):
    one = listen(associations=AssociationSettings(max_per_minute=2))
    for _ in range(2):
        associated(one.port).release()
    assert not associated(one.port).is_established
    assert "too many associations in a minute" in one.lines.getvalue()


def answered(port: int, data: bytes, seconds: float = 20) -> bytes:
    """What comes back for raw bytes, until the node closes the connection."""
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.settimeout(seconds)
        try:
            raw.sendall(data)
            return b"".join(iter(lambda: raw.recv(4096), b""))
        except ConnectionError:
            return b""


def sockets() -> int:
    """How many this process has open."""
    links = Path("/proc/self/fd").iterdir()
    return sum("socket" in str(link.readlink()) for link in links if link.is_symlink())


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts sockets by Linux's /proc")
def test_ten_thousand_bytes_of_garbage(listen):
    one = listen(associations=quick())
    before = sockets()
    for seed in range(3):
        answered(one.port, bytes((i * 7919 + seed * 31) % 251 for i in range(10_000)))
    for kind in (1, 2, 4, 5, 7):  # PDUs whose contents are none, or that come too early
        answered(one.port, bytes([kind, 0]) + struct.pack(">L", 500) + os.urandom(500))
    until(lambda: one.receiver.associations() == 0)
    until(lambda: sockets() == before)
    assert send(one.port, study(1)[:1]) == [0]


def test_a_length_that_lies_is_not_believed(listen):
    one = listen(associations=quick(30))
    begun = time.monotonic()
    answered(one.port, b"\x01\0" + struct.pack(">L", 2**32 - 1) + b"\0" * 1000)
    assert time.monotonic() - begun < 15


@pytest.mark.slow
def test_silent_and_slow_senders_are_let_go(listen):
    one = listen(associations=quick(1))
    begun = time.monotonic()
    assert answered(one.port, b"") == b""  # says nothing
    answered(one.port, b"\x01\0" + struct.pack(">L", 400) + b"\0" * 10)  # stops in the middle
    with socket.create_connection(("127.0.0.1", one.port)) as raw:  # a byte now and then
        raw.settimeout(0.3)
        raw.sendall(b"\x01\0" + struct.pack(">L", 4000))
        closed = False
        while not closed and time.monotonic() - begun < 60:
            try:
                raw.sendall(b"\0")
                closed = raw.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                closed = True
    assert closed
    until(lambda: one.receiver.associations() == 0)


def test_every_syntax_that_is_read_is_taken_of_every_ct_class(listen):
    one = listen()
    entity = AE("PACS")
    for sop_class in sorted(CT_CLASSES):
        for syntax in CT_SYNTAXES:
            entity.add_requested_context(sop_class, syntax)
        entity.add_requested_context(sop_class, "1.2.840.10008.1.2.4.202")  # HTJ2K, not read
    association = entity.associate("127.0.0.1", one.port, ae_title="ABDOBOX")
    taken = [(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts]
    association.release()
    assert sorted(taken) == sorted((c, s) for c in CT_CLASSES for s in CT_SYNTAXES)


def test_contexts_are_shared_by_all_associations_and_stay_as_they_are():
    contexts = accepted_contexts(commitment=True)
    assert deepcopy(contexts) is contexts
    before = [(c.abstract_syntax, tuple(c.transfer_syntax)) for c in contexts]
    asked = [build_context(sop_class, list(CT_SYNTAXES[:2])) for sop_class in sorted(CT_CLASSES)]
    for number, context in enumerate(asked):
        context.context_id = 2 * number + 1
    results, _ = negotiate_as_acceptor(asked, contexts)
    assert [c.result for c in results] == [0, 0, 0]
    assert [(c.abstract_syntax, tuple(c.transfer_syntax)) for c in contexts] == before


def test_a_slow_name_server_keeps_nobody_from_sending(listen, monkeypatch: pytest.MonkeyPatch):
    answers, usual = threading.Event(), socket.getaddrinfo

    def look_up(host: object, *more: object, **said: object) -> object:
        if host == "slow.hospital":
            answers.wait(60)
        return usual(host, *more, **said)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr("node.peers._FIRST_S", 0.1, raising=False)
    one = listen(allow=("SLOW@slow.hospital", "PACS@127.0.0.1"))
    try:
        assert send(one.port, study(1)[:1]) == [0]
        assert not answers.is_set()
    finally:
        answers.set()
