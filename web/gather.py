"""NiiVue's script and the licences of what it bundles: ``gather.py NODE_MODULES FOLDER``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

_SCRIPT = "@niivue/niivue/dist/niivue.umd.js"
# Its package carries no licence file; its repository does.
_NIIVUE = Path(__file__).resolve().parent / "LICENSE.niivue"


def main(modules: Path, folder: Path) -> int:
    """Gather. Returns the exit status."""
    notices = []
    for description in sorted(modules.glob("**/package.json")):
        package = json.loads(description.read_text(encoding="utf-8"))
        name = package.get("name", "")
        if "version" not in package or not description.parent.as_posix().endswith(f"/{name}"):
            continue  # a part of a package, with a description of its own
        texts = sorted(
            p for p in description.parent.iterdir() if p.name.lower().startswith("licen")
        )
        if name == "@niivue/niivue":
            texts = [_NIIVUE]
        body = texts[0].read_text(encoding="utf-8") if texts else f"Licence: {package['license']}\n"
        notices.append(f"{name} {package['version']}\n\n{body.strip()}\n")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "LICENSES.txt").write_text(f"\n{'-' * 70}\n".join(notices), encoding="utf-8")
    (folder / "niivue.umd.js").write_bytes((modules / _SCRIPT).read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
