"""The pinned versions have wheels wherever abdobox is said to run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms, parse_tag

from deploy.wheel_tags import DIGITS, wheels

ROOT = Path(__file__).resolve().parents[2]
WHEELS: dict[str, dict[str, str]] = json.loads((ROOT / "deploy" / "wheels.json").read_text())
# The oldest systems: glibc of Debian 10 and RHEL 8, that of Debian 12 and Ubuntu 22.04, macOS.
LINUX_GLIBC = {"x86_64": 28, "aarch64": 35}
MACOS = {"requirements-cpu": (11, 0), "requirements": (14, 0), "requirements-node": (11, 0)}
PYTHONS = [(3, 11), (3, 12), (3, 13), (3, 14)]


def locked(name: str) -> dict[str, tuple[Marker | None, set[str]]]:
    """``NAME==VERSION`` of a lock file to its marker and the starts of its files' SHA-256."""
    lines = (ROOT / f"{name}.lock").read_text().partition("\n")[2]
    found = {}
    for block in re.split(r"\n(?=[a-z])", lines):
        wanted = Requirement(block.partition("\\")[0])
        hashes = re.findall(rf"sha256:([0-9a-f]{{{DIGITS}}})", block)
        found[f"{wanted.name}{wanted.specifier}"] = wanted.marker, set(hashes)
    return found


def taken(system: str, machine: str, python: tuple[int, int], lock: str) -> set[Tag]:
    """The tags that pip takes there."""
    if system == "linux":
        glibc = range(LINUX_GLIBC[machine], 4, -1)
        platforms = [f"manylinux_2_{minor}_{machine}" for minor in glibc]
        platforms.append(f"manylinux2014_{machine}")  # glibc 2.17's other name
    else:
        platforms = list(mac_platforms(MACOS[lock], machine))
    interpreter = f"cp{python[0]}{python[1]}"
    return {
        *cpython_tags(python, platforms=platforms),
        *compatible_tags(python, interpreter, platforms),
    }


@pytest.mark.parametrize("lock", ["requirements-cpu", "requirements", "requirements-node"])
def test_every_file_that_is_recorded_is_one_of_the_lock(lock: str):
    for pin, (_, hashes) in locked(lock).items():
        assert WHEELS[pin].keys() <= hashes, f"{pin}: make lock"


@pytest.mark.parametrize("python", PYTHONS, ids=lambda version: "3.{}".format(*version[1:]))
@pytest.mark.parametrize(
    ("system", "machine"), [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]
)
@pytest.mark.parametrize("lock", ["requirements-cpu", "requirements", "requirements-node"])
def test_every_pin_has_a_wheel(lock: str, system: str, machine: str, python: tuple[int, int]):
    version = f"{python[0]}.{python[1]}"
    there = {
        "sys_platform": system,
        "platform_machine": machine,
        "python_version": version,
        "python_full_version": f"{version}.1",
    }
    tags = taken(system, machine, python, lock)
    missing = [
        pin
        for pin, (marker, _) in locked(lock).items()
        if (marker is None or marker.evaluate(there))
        and not any(tags & parse_tag(text) for text in WHEELS[pin].values())
    ]
    assert missing == []


def test_what_is_recorded_of_a_resolvers_answer(tmp_path: Path):
    digest = "0123456789abcdef" * 4
    pylock = tmp_path / "pylock.toml"
    entries = "".join(
        f'{{ url = "https://host/a_b-1.0-{tags}.whl", hashes = {{ sha256 = "{n}{digest[1:]}" }} }},'
        for n, tags in enumerate(
            (
                "cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64",
                "cp311-cp311-macosx_11_0_arm64",
                "cp311-cp311-macosx_10_9_x86_64",
                "cp311-cp311-musllinux_1_2_x86_64",
                "cp311-cp311-manylinux_2_28_ppc64le",
                "cp311-cp311-win_amd64",
                "py3-none-any",
            )
        )
    )
    pylock.write_text(
        f'[[packages]]\nname = "a-b"\nversion = "1.0"\nwheels = [{entries}]\n'
        '[[packages]]\nname = "c"\nversion = "2"\n'
    )
    assert wheels(pylock) == {
        "a-b==1.0": {
            f"0{digest[1:DIGITS]}": "cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64",
            f"1{digest[1:DIGITS]}": "cp311-cp311-macosx_11_0_arm64",
            f"6{digest[1:DIGITS]}": "py3-none-any",
        },
        "c==2": {},
    }
