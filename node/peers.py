"""Who may send, and who is sent to: AE titles and the addresses that go with them."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from .box import one_line
from .log import Log

# How long addresses hold, when they are asked for again where they were not found, and how long
# the node waits for the first ones before it listens.
_NAMES_HOLD_S, _AGAIN_S, _FIRST_S = 30.0, 5.0, 5.0
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
        network = self.network
        return address in (names.addresses(self.place) if network is None else network)

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
        """Where that is; None: at a host whose addresses have to be looked up."""
        try:
            return ipaddress.ip_network(self.place, strict=False)
        except ValueError:
            return None


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
    """The addresses of hosts, each asked for by a thread of its own: who wants them never waits.

    They are asked for again every half a minute: containers move. Where nobody answers, the last
    ones hold: a name server that is down shuts nobody out.

    Args:
        hosts: their names.
        log: told of those that are not found, and found again.
    """

    def __init__(self, hosts: Iterable[str], log: Log) -> None:
        self._known: dict[str, frozenset[Address]] = {}
        self._asked = {host: threading.Event() for host in hosts}
        self._lacking: set[str] = set()
        self._log, self._stop, self._lock = log, threading.Event(), threading.Lock()

    def start(self) -> None:
        """Begin to ask, and give the first answers a moment to come."""
        for host in self._asked:
            name = f"addresses of {host}"
            threading.Thread(target=self._follow, args=(host,), name=name, daemon=True).start()
        deadline = time.monotonic() + _FIRST_S
        for host, asked in self._asked.items():
            if not asked.wait(max(0.0, deadline - time.monotonic())):
                with self._lock:
                    if not asked.is_set():
                        self._say_lacking(host, "the name server does not answer")

    def stop(self) -> None:
        """Ask no more; a question that is open is left to itself."""
        self._stop.set()

    def addresses(self, host: str) -> frozenset[Address]:
        """All of a host's addresses, as far as they are known."""
        return self._known.get(host, frozenset())

    def _follow(self, host: str) -> None:
        while not self._stop.is_set():
            try:
                found = looked_up(host)
            except (OSError, ValueError) as error:  # UnicodeError is a ValueError
                with self._lock:
                    self._say_lacking(host, one_line(str(error)))
                    self._asked[host].set()
                self._stop.wait(_AGAIN_S)
            else:
                self._known[host] = found
                with self._lock:
                    self._say_found(host)
                    self._asked[host].set()
                self._stop.wait(_NAMES_HOLD_S)

    def _say_lacking(self, host: str, reason: str) -> None:
        if host not in self._lacking:
            self._lacking.add(host)
            kept = "its last addresses hold" if host in self._known else "nobody may send from it"
            reason = f"{reason}; until it is found, {kept}; check the name in allow"
            self._log("host_not_found", "warning", host=host, reason=reason)

    def _say_found(self, host: str) -> None:
        if host in self._lacking:
            self._lacking.remove(host)
            self._log("host_found", host=host)


def looked_up(host: str) -> frozenset[Address]:
    """All of a host's addresses, by the system's resolver. Raises OSError, ValueError."""
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return frozenset(parse_address(str(answer[4][0])) for answer in answers)


def parse_address(text: str) -> Address:
    """An IP address; an IPv4 one in IPv6's clothes (``::ffff:10.0.0.5``) as itself."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class Peers:
    """Everybody who may send.

    Args:
        allowed: by the settings.
        log: told of hosts whose addresses are not found.
    """

    def __init__(self, allowed: Iterable[Allowed], log: Log) -> None:
        self._allowed = tuple(allowed)
        self.names = HostNames({one.place for one in self._allowed if one.network is None}, log)

    def know(self, address: str) -> bool:
        """Whether anybody at all may send from there."""
        place = parse_address(address)
        return any(one.covers(place, self.names) for one in self._allowed)

    def allow(self, aet: str, address: str) -> bool:
        """Whether this AE may send from there."""
        place = parse_address(address)
        return any(one.aet == aet and one.covers(place, self.names) for one in self._allowed)
