"""Who may send: AE titles, and the addresses that go with them."""

from __future__ import annotations

import io
import json
import socket
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import peers as names
from node.log import Log
from node.peers import Allowed, Destination, Peers, aet_problem, parse_address
from tests.node.running import until


@pytest.mark.parametrize(
    ("allowed", "aet", "address", "yes"),
    [
        ("PACS@10.0.0.5", "PACS", "10.0.0.5", True),
        ("PACS@10.0.0.5", "PACS", "10.0.0.6", False),
        ("PACS@10.0.0.5", "pacs", "10.0.0.5", False),
        ("CT1@10.0.1.0/24", "CT1", "10.0.1.255", True),
        ("CT1@10.0.1.7/24", "CT1", "10.0.1.8", True),
        ("CT1@10.0.1.0/24", "CT1", "10.0.2.1", False),
        ("A@fd00::/8", "A", "fd00::1", True),
        ("A@10.0.0.5", "A", "::ffff:10.0.0.5", True),
        ("A@localhost", "A", "127.0.0.1", True),
        ("A@localhost", "A", "10.0.0.1", False),
        ("A@no.such.host.invalid", "A", "127.0.0.1", False),
    ],
)
def test_a_title_counts_with_its_address_alone(allowed: str, aet: str, address: str, yes: bool):
    peers = Peers([Allowed.parse(allowed)], Log(io.StringIO()))
    peers.names.start()
    peers.names.stop()
    assert peers.allow(aet, address) is yes
    assert not peers.allow("OTHER", address)


def test_an_address_may_belong_to_several():
    peers = Peers([Allowed.parse("A@10.0.0.1"), Allowed.parse("B@10.0.0.2")], Log())
    assert peers.know("10.0.0.1")
    assert peers.know("10.0.0.2")
    assert not peers.know("10.0.0.3")
    assert not peers.allow("B", "10.0.0.1")


@pytest.mark.parametrize("text", ["A", "@h", "A@", "A@10.0.0.0/99", "A\\B@h", "A" * 17 + "@h", ""])
def test_what_is_no_sender(text: str):
    with pytest.raises(ValueError, match=r"\S"):
        Allowed.parse(text)


@pytest.mark.parametrize("text", ["A@h", "A@h:", "A@:1", "A@h:0", "A@h:65536", "A@h:x", "h:104"])
def test_what_is_no_destination(text: str):
    with pytest.raises(ValueError, match=r"\S"):
        Destination.parse(text)


def test_destinations():
    assert Destination.parse("PACS@10.0.0.5:11112") == Destination("PACS", "10.0.0.5", 11112)
    six = Destination.parse("PACS@[fd00::1]:104")
    assert (six.host, six.port, str(six)) == ("fd00::1", 104, "PACS@[fd00::1]:104")


@settings(max_examples=50)
@given(st.text(max_size=20))
def test_a_title_that_passes_is_one(text: str):
    """PS3.5, 6.2: 16 characters at most, no backslash, no control characters, not only spaces."""
    if aet_problem(text) is None:
        assert 1 <= len(text) <= 16
        assert text.isascii() and text.isprintable() and "\\" not in text
        assert Allowed.parse(f"{text}@127.0.0.1").aet == text


def test_scope_ids_are_no_part_of_an_address():
    assert str(parse_address("fe80::1%eth0")) == "fe80::1"


class Resolver:
    """The system's, for one host: slow, or down, or as it should be."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers, self.fails, self.asked = threading.Event(), False, 0
        usual = socket.getaddrinfo

        def look_up(host: object, *more: object, **said: object) -> object:
            if host != "pacs.hospital":
                return usual(host, *more, **said)
            self.asked += 1
            assert self.answers.wait(60)
            if self.fails:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            return usual("10.0.0.5", *more, **said)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        for name in ("_NAMES_HOLD_S", "_AGAIN_S", "_FIRST_S"):
            monkeypatch.setattr(names, name, 0.1)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch):
    one = Resolver(monkeypatch)
    yield one
    one.answers.set()


def test_a_name_server_that_does_not_answer_holds_up_nobody(resolver: Resolver):
    lines = io.StringIO()
    peers = Peers([Allowed.parse("A@pacs.hospital"), Allowed.parse("B@10.0.0.6")], Log(lines))
    peers.names.start()
    try:
        assert peers.know("10.0.0.6")  # at once, while the other's address is being asked for
        assert not peers.know("10.0.0.5")
        (said,) = map(json.loads, lines.getvalue().splitlines())
        assert (said["event"], said["level"]) == ("host_not_found", "warning")
        assert said["host"] == "pacs.hospital"
        resolver.answers.set()
        until(lambda: peers.know("10.0.0.5"))
        until(lambda: "host_found" in lines.getvalue())
    finally:
        peers.names.stop()


def test_the_last_addresses_hold_while_the_name_server_is_down(resolver: Resolver):
    lines = io.StringIO()
    peers = Peers([Allowed.parse("A@pacs.hospital")], Log(lines))
    resolver.answers.set()
    peers.names.start()
    try:
        assert peers.allow("A", "10.0.0.5")
        assert lines.getvalue() == ""
        resolver.fails = True
        until(lambda: "host_not_found" in lines.getvalue())
        asked = resolver.asked
        until(lambda: resolver.asked > asked + 2)
        assert peers.allow("A", "10.0.0.5")
        assert len(lines.getvalue().splitlines()) == 1
    finally:
        peers.names.stop()
