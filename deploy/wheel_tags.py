"""For which platforms the locked versions have wheels: ``python wheel_tags.py PYLOCK.toml ...``.

The lock files name the SHA-256 of every file, but no file. What a resolver of the same versions
writes as pylock.toml (PEP 751) names both; of that this keeps what tests/deploy/test_platforms.py
needs: per package and version the start of each wheel's SHA-256, and its tags. Wheels for other
platforms than those that abdobox runs on are left out.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path

# Digits of the SHA-256: enough to find the file in the lock file again.
DIGITS = 12
_TAGS = re.compile(r"-([^-]+-[^-]+-[^-]+)\.whl")
_WANTED = re.compile(r"any|manylinux\w+_(x86_64|aarch64)\b.*|macosx\w+_(arm64|universal2)")


def wheels(pylock: Path) -> dict[str, dict[str, str]]:
    """``NAME==VERSION`` to {start of a wheel's SHA-256: its tags}, of the pinned packages."""
    found: dict[str, dict[str, str]] = {}
    for package in tomllib.loads(pylock.read_text(encoding="utf-8"))["packages"]:
        tags = {}
        for wheel in package.get("wheels", ()):
            match = _TAGS.search(wheel["url"])
            if match and _WANTED.fullmatch(match[1].rpartition("-")[2]):
                tags[wheel["hashes"]["sha256"][:DIGITS]] = match[1]
        found[f"{package['name']}=={package['version']}"] = tags
    return found


if __name__ == "__main__":
    every: dict[str, dict[str, str]] = {}
    for name in sys.argv[1:]:
        every |= wheels(Path(name))
    json.dump(every, sys.stdout, indent=0, sort_keys=True)
    sys.stdout.write("\n")
