"""Settings from the command line, the environment and a TOML file, in that order.

Every fault is found before the node starts, and each is one line that names where it stands.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from .settings import Settings, sections

PREFIX = "ABDOBOX_NODE_"
CONFIG = f"{PREFIX}CONFIG"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True)
class Read:
    """What was read.

    Attributes:
        settings: with the default where a value was faulty.
        faults: one line each.
        faulty: the settings that they are about, as ``port`` or ``http.port``.
    """

    settings: Settings
    faults: list[str]
    faulty: set[str]


# (section or "", key) -> (where it was said, value)
Said = dict[tuple[str, str], tuple[str, Any]]


def read_settings(
    command_line: Mapping[str, Any], environment: Mapping[str, str], file: Path | None
) -> Read:
    """The settings, and every fault of every source.

    Args:
        command_line: keys as ``port`` or ``http.port``.
        environment: ``ABDOBOX_NODE_PORT``, ``ABDOBOX_NODE_HTTP_PORT`` ...; no others.
        file: TOML; by default the one that ``ABDOBOX_NODE_CONFIG`` names.
    """
    problems: list[str] = []
    said: Said = {}
    if file is None and environment.get(CONFIG):
        file = Path(environment[CONFIG])
    if file is not None:
        said |= _of_file(file, problems)
    said |= _of_environment(environment, problems)
    for name, value in command_line.items():
        section, _, key = name.rpartition(".")
        said[section, key] = f"--{key if not section else f'{section}-{key}'}", value
    return _built(said, problems)


def _defaults() -> dict[tuple[str, str], Any]:
    """Every setting's default."""
    whole = Settings()
    parts = sections()
    known = {("", one.name): getattr(whole, one.name) for one in fields(Settings)}
    for name, part in parts.items():
        known |= {(name, one.name): getattr(part, one.name) for one in fields(part)}
        del known["", name]
    return known


def _of_file(file: Path, problems: list[str]) -> Said:
    try:
        with file.open("rb") as opened:
            document = tomllib.load(opened)
    except OSError as error:
        problems.append(f"{file}: cannot be read ({error.strerror}); name a readable file")
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        problems.append(f"{file}: is no TOML ({error}); mend it")
        return {}
    known, parts = _defaults(), sections()
    said: Said = {}
    for name, value in document.items():
        if name in parts:
            if not isinstance(value, dict):
                problems.append(f"{file}: [{name}]: is a section; write its keys below [{name}]")
                continue
            said |= {(name, key): (f"{file}: {name}.{key}", one) for key, one in value.items()}
        else:
            said["", name] = f"{file}: {name}", value
    for key in [key for key in said if key not in known]:
        problems.append(
            f"{said.pop(key)[0]}: is no setting; see deploy/node.md for those there are"
        )
    return said


def _of_environment(environment: Mapping[str, str], problems: list[str]) -> Said:
    known = {_variable(*key): key for key in _defaults()}
    said: Said = {}
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name == CONFIG:
            continue
        if name not in known:
            problems.append(f"{name}: is no setting; see deploy/node.md for those there are")
            continue
        default = _defaults()[known[name]]
        said[known[name]] = name, _of_text(environment[name], default)
    return said


def _variable(section: str, key: str) -> str:
    return PREFIX + (f"{section}_{key}" if section else key).upper()


def _of_text(text: str, default: Any) -> Any:
    """A text as a value of the default's kind, or itself where it is none."""
    if isinstance(default, bool):
        lower = text.strip().lower()
        return True if lower in _TRUE else False if lower in _FALSE else text
    if isinstance(default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            return text
    return text


def _built(said: Said, problems: list[str]) -> Read:
    defaults = _defaults()
    faulty = set()
    values: dict[str, dict[str, Any]] = {}
    checks = _checks()
    for key, (where, given) in said.items():
        value = _typed(given, defaults[key])
        name = ".".join(part for part in key if part)
        if value is None:
            faulty.add(name)
            kind = (
                "a list of texts"
                if isinstance(defaults[key], tuple)
                else _KINDS[type(defaults[key])]
            )
            problems.append(f"{where}: {given!r} is not {kind}")
            continue
        check = checks[key]
        if check is not None and (problem := check(value)):
            faulty.add(name)
            shown = "" if isinstance(value, tuple) else f"{value!r} "
            problems.append(f"{where}: {shown}{problem}")
            continue
        values.setdefault(key[0], {})[key[1]] = value
    parts = {name: replace(part, **values.get(name, {})) for name, part in sections().items()}
    return Read(Settings(**values.get("", {}), **parts), problems, faulty)


def _checks() -> dict[tuple[str, str], Any]:
    checks = {("", one.name): one.metadata.get("check") for one in fields(Settings)}
    for name, part in sections().items():
        checks |= {(name, one.name): one.metadata.get("check") for one in fields(part)}
    return checks


def _typed(given: Any, default: Any) -> Any:
    """``given`` as the default's type, or None."""
    if isinstance(default, bool):
        return given if isinstance(given, bool) else None
    if isinstance(default, tuple):
        listed = isinstance(given, list | tuple) and all(isinstance(one, str) for one in given)
        return tuple(given) if listed else None
    if isinstance(given, bool):
        return None
    if isinstance(default, float):
        return float(given) if isinstance(given, int | float) else None
    return given if isinstance(given, type(default)) else None
