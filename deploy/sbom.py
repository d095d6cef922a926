"""The image's bill of materials as CycloneDX 1.6 JSON: ``python sbom.py WEIGHTS > sbom.json``.

Runs while the image is built, with nothing but the standard library: what is installed is asked of
the installation itself. No time stamp and a serial number made from the contents, so that the same
image gives the same file.
"""

from __future__ import annotations

import json
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

DPKG = Path("/var/lib/dpkg/status")


def python_packages() -> list[dict[str, Any]]:
    """Every installed distribution."""
    found = []
    for distribution in metadata.distributions():
        name, version = distribution.metadata["Name"], distribution.version
        component = {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}",
        }
        licence = distribution.metadata.get("License-Expression")
        if licence:
            component["licenses"] = [{"expression": licence}]
        found.append(component)
    return found


def debian_packages(status: Path = DPKG) -> list[dict[str, Any]]:
    """Every package that dpkg says is installed; none on another system."""
    if not status.is_file():
        return []
    found = []
    for paragraph in status.read_text(encoding="utf-8").split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.splitlines() if line[:1] != " ")
        fields = {key: value for key, _, value in lines}
        if fields.get("Status", "").endswith(" installed"):
            purl = f"pkg:deb/debian/{fields['Package']}@{fields['Version']}"
            purl += f"?arch={fields['Architecture']}"
            found.append(
                {
                    "type": "library",
                    "bom-ref": purl,
                    "name": fields["Package"],
                    "version": fields["Version"],
                    "purl": purl,
                }
            )
    return found


def models(weights: Path) -> list[dict[str, Any]]:
    """The models with the SHA-256 that is checked before they are used."""
    found = []
    for path in sorted(weights.glob("*/model.json")):
        model = json.loads(path.read_text(encoding="utf-8"))
        found.append(
            {
                "type": "machine-learning-model",
                "bom-ref": f"model:{path.parent.name}@{model['version']}",
                "name": path.parent.name,
                "version": str(model["version"]),
                "hashes": [{"alg": "SHA-256", "content": model["sha256"]}],
            }
        )
    return found


def document(weights: Path) -> dict[str, Any]:
    """The bill of materials of this installation."""
    components = [*python_packages(), *debian_packages(), *models(weights)]
    components.sort(key=lambda component: component["bom-ref"])
    text = json.dumps(components, sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, text)}",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": "abdobox", "name": "abdobox"}},
        "components": components,
    }


if __name__ == "__main__":
    json.dump(document(Path(sys.argv[1])), sys.stdout, indent=1)
