"""Who may send, and who is sent to: AE titles and the addresses that go with them."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

_NAMES_HOLD_S = 30.0
_LONGEST_AET = 16
_LAST_PORT = 65535
_OF_IPV4 = frozenset("0123456789.")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def aet_problem(text: str) -> str | None:
    """What is wrong with an AE title (PS3.5, 6.2: at most 16 characters, none of them control)."""
    if not text.strip():
        return "an AE title is not empty"
    if len(text) > _LONGEST_AET:
        return f"an AE title has at most {_LONGEST_AET} characters"
    if not (text.isascii() and text.isprintable()) or "\\" in text or text != text.strip():
        return "an AE title is ASCII without backslashes, control characters or outer spaces"
    return None


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who may send: an AE title at an address, in a network, or at a host's addresses."""

    aet: str
    place: str

    @classmethod
    def parse(cls, text: str) -> Allowed:
        """``AET@address``, ``AET@network/bits`` or ``AET@host``. Raises ValueError."""
        aet, place = _split(text)
        if "/" in place or ":" in place or set(place) <= _OF_IPV4:  # no host is called that
            try:
                ipaddress.ip_network(place, strict=False)
            except ValueError:
                raise ValueError("is no address or network") from None
        return cls(aet, place)

    def covers(self, address: Address, names: HostNames) -> bool:
        """Whether a connection from there may come from this peer."""
        try:
            return address in ipaddress.ip_network(self.place, strict=False)
        except ValueError:
            return address in names.addresses(self.place)


@dataclass(frozen=True, slots=True)
class Destination:
    """A C-STORE SCP that results are sent to."""

    aet: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Destination:
        """``AET@host:port``, an IPv6 address in brackets. Raises ValueError."""
        aet, place = _split(text)
        host, colon, port = place.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not (colon and host and port.isdecimal() and 0 < int(port) <= _LAST_PORT):
            raise ValueError("is not AET@host:port")
        return cls(aet, host, int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.aet}@{host}:{self.port}"


def _split(text: str) -> tuple[str, str]:
    aet, at, place = text.rpartition("@")
    aet, place = aet.strip(), place.strip()
    if not (at and place):
        raise ValueError("is not AET@address")
    if problem := aet_problem(aet):
        raise ValueError(problem)
    return aet, place


class HostNames:
    """The addresses of hosts, asked for again after half a minute: containers move.

    Where nobody answers, the last ones hold: a name server that is down shuts nobody out.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, frozenset[Address]]] = {}
        self._lock = threading.Lock()

    def addresses(self, host: str) -> frozenset[Address]:
        """All of a host's addresses; none where it was never known."""
        with self._lock:
            asked, found = self._known.get(host, (float("-inf"), frozenset[Address]()))
        if time.monotonic() - asked < _NAMES_HOLD_S:
            return found
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found = frozenset(parse_address(str(answer[4][0])) for answer in answers)
        except (OSError, ValueError, UnicodeError):
            pass
        with self._lock:
            self._known[host] = time.monotonic(), found
        return found


def parse_address(text: str) -> Address:
    """An IP address; an IPv4 one in IPv6's clothes (``::ffff:10.0.0.5``) as itself."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class Peers:
    """Everybody who may send."""

    def __init__(self, allowed: Iterable[Allowed]) -> None:
        self._allowed = tuple(allowed)
        self._names = HostNames()

    def know(self, address: str) -> bool:
        """Whether anybody at all may send from there."""
        place = parse_address(address)
        return any(one.covers(place, self._names) for one in self._allowed)

    def allow(self, aet: str, address: str) -> bool:
        """Whether this AE may send from there."""
        place = parse_address(address)
        return any(one.aet == aet and one.covers(place, self._names) for one in self._allowed)
