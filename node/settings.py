"""The node's settings: what they are, their defaults, and what is wrong with given ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, is_dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .box import SEG_TYPES, SUFFIXES
from .peers import Allowed, Destination, aet_problem

T = TypeVar("T")
# Formats that a PACS takes; the others would have nowhere to go.
_FORMATS = tuple(name for name in SUFFIXES if name in ("dicom-seg", "rtstruct"))


def _value(default: T, check: Callable[[T], str | None] | None = None) -> T:
    """A setting with a default, and a check that says what is wrong with a value."""
    made: T = field(default=default, metadata={"check": check})
    return made


def _between(least: float, most: float = float("inf")) -> Callable[[float], str | None]:
    def check(value: float) -> str | None:
        if least <= value <= most and isfinite(value):
            return None
        wanted = f"between {least} and {most}" if isfinite(most) else f"at least {least}"
        return f"is not {wanted}, and finite" if not isfinite(value) else f"is not {wanted}"

    return check


def _one_of(*names: str) -> Callable[[str], str | None]:
    return lambda value: None if value in names else f"is none of {', '.join(names)}"


def _each(
    check: Callable[[str], str | None], empty: bool = True
) -> Callable[[tuple[str, ...]], str | None]:
    def all_of(values: tuple[str, ...]) -> str | None:
        wrong = [f"{value!r} {problem}" for value in values if (problem := check(value))]
        return "; ".join(wrong) or (None if values or empty else "is empty")

    return all_of


def _parsed(parse: Callable[[str], object]) -> Callable[[str], str | None]:
    def check(text: str) -> str | None:
        try:
            parse(text)
        except ValueError as error:
            return f"{error}"
        return None

    return check


def _aet(value: str) -> str | None:
    return aet_problem(value)


def _url(value: str) -> str | None:
    try:
        parts = urlsplit(value)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        sound = False
    return None if sound or not value else "is no URL of http or https"


@dataclass(frozen=True)
class StudySettings:
    """When a study is taken, and how large it may be. ``max_bytes`` 0: as large as the disk."""

    quiet_seconds: float = _value(10.0, _between(0.1))
    on_release: bool = False
    max_instances: int = _value(20_000, _between(1))
    max_bytes: int = _value(0, _between(0))


@dataclass(frozen=True)
class AssociationSettings:
    """Limits on associations.

    ``max_per_minute`` counts those of one address; 0: as many as come (there are PACS that take
    one for each instance). ``timeout_seconds`` is for a silent peer and for each PDU of a slow one.
    ``commitment``: whether storage commitment is answered; see :mod:`node.commitment` before it is
    switched on.
    """

    max: int = _value(10, _between(1, 1000))
    max_per_minute: int = _value(0, _between(0))
    max_pdu: int = _value(262_144, _between(4096, 1 << 24))
    timeout_seconds: float = _value(60.0, _between(1, 86_400))
    commitment: bool = False


@dataclass(frozen=True)
class WorkSettings:
    """What is made of a study. ``timeout_seconds`` is for a whole one; 0: no limit."""

    model: str = ""
    device: str = "auto"
    formats: tuple[str, ...] = _value(("dicom-seg",), _each(_one_of(*_FORMATS), empty=False))
    seg_type: str = _value("labelmap", _one_of(*SEG_TYPES))
    html: bool = False
    tries: int = _value(3, _between(1))
    retry_seconds: float = _value(30.0, _between(0))
    timeout_seconds: float = _value(3600.0, _between(0))


@dataclass(frozen=True)
class SendSettings:
    """Pauses between tries to reach a destination that is down: doubled up to the longest."""

    first_pause_seconds: float = _value(2.0, _between(0.01))
    longest_pause_seconds: float = _value(300.0, _between(0.01))


@dataclass(frozen=True)
class SpoolSettings:
    """What is kept, and how much of the disk is left free.

    ``hold_seconds``: how long the source of a finished study is kept, so that slices that come
    late are segmented together with it.
    """

    keep_days: float = _value(7.0, _between(0))
    keep_bytes: int = _value(0, _between(0))
    min_free_bytes: int = _value(2_000_000_000, _between(0))
    hold_seconds: float = _value(600.0, _between(0))


@dataclass(frozen=True)
class StowSettings:
    """An optional DICOMweb destination."""

    url: str = _value("", _url)


@dataclass(frozen=True)
class HttpSettings:
    """Where /health, /metrics and the status page are. Port 0: nowhere."""

    bind: str = "127.0.0.1"
    port: int = _value(8042, _between(0, 65535))


@dataclass(frozen=True)
class TlsSettings:
    """PEM files. With ``ca``, senders must show a certificate that it has signed."""

    certificate: str = ""
    key: str = ""
    ca: str = ""


@dataclass(frozen=True)
class Settings:
    """All of them. ``allow`` and ``send`` are texts here; see :mod:`node.peers`."""

    aet: str = _value("ABDOBOX", _aet)
    bind: str = "0.0.0.0"  # noqa: S104 (a listener; who may connect is what `allow` says)
    port: int = _value(11112, _between(0, 65535))
    store: str = ""
    allow: tuple[str, ...] = _value((), _each(_parsed(Allowed.parse)))
    send: tuple[str, ...] = _value((), _each(_parsed(Destination.parse)))
    study: StudySettings = field(default_factory=StudySettings)
    associations: AssociationSettings = field(default_factory=AssociationSettings)
    work: WorkSettings = field(default_factory=WorkSettings)
    sending: SendSettings = field(default_factory=SendSettings)
    spool: SpoolSettings = field(default_factory=SpoolSettings)
    stow: StowSettings = field(default_factory=StowSettings)
    http: HttpSettings = field(default_factory=HttpSettings)
    tls: TlsSettings = field(default_factory=TlsSettings)

    @property
    def store_folder(self) -> Path:
        """The spool."""
        return Path(self.store)

    @property
    def allowed(self) -> list[Allowed]:
        """Who may send."""
        return [Allowed.parse(text) for text in self.allow]

    @property
    def destinations(self) -> list[Destination]:
        """Whom results are sent to by C-STORE."""
        return [Destination.parse(text) for text in self.send]


def sections(settings: type[Settings] = Settings) -> dict[str, Any]:
    """The default of each section, by its name."""
    made = settings()
    return {
        one.name: getattr(made, one.name)
        for one in fields(settings)
        if is_dataclass(getattr(made, one.name))
    }
