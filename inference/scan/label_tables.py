"""Names and colours of the labels as programs read them: within NIfTI, for ITK-SNAP, for 3D Slicer.

``python -m inference.scan.label_tables FOLDER`` writes the two files of ``labels/`` anew.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..labels import BACKGROUND, STRUCTURES

ITK_SNAP, SLICER = "abdobox.label", "abdobox.ctbl"
_CARET = 30  # NIFTI_ECODE_CARET of nifti1.h
_EXTENSION_STEP = 16  # nifti1.h: an extension's size is a multiple of it
_ITK_SNAP_HEAD = """\
################################################
# ITK-SnAP Label Description File
# File format:
# IDX   -R-  -G-  -B-  -A--  VIS MSH  LABEL
# Fields:
#    IDX:   Zero-based index
#    -R-:   Red color component (0..255)
#    -G-:   Green color component (0..255)
#    -B-:   Blue color component (0..255)
#    -A-:   Label transparency (0.00 .. 1.00)
#    VIS:   Label visibility (0 or 1)
#    MSH:   Label mesh visibility (0 or 1)
#  LABEL:   Label description
################################################
"""


def caret_xml() -> str:
    """The label table of Caret and Connectome Workbench: names, and colours in 0..1."""
    labels = (
        f'<Label Key="{BACKGROUND}" Red="0" Green="0" Blue="0" Alpha="0"><![CDATA[???]]></Label>'
    )
    for value, one in STRUCTURES.items():
        red, green, blue = (f"{part / 255:.6f}" for part in one.rgb)
        labels += (
            f'\n<Label Key="{value}" Red="{red}" Green="{green}" Blue="{blue}" Alpha="1">'
            f"<![CDATA[{one.name}]]></Label>"
        )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<CaretExtension>\n<VolumeInformation Index="0">\n<LabelTable>\n{labels}\n</LabelTable>\n'
        "<StudyMetaDataLinkSet></StudyMetaDataLinkSet>\n"
        "<VolumeType><![CDATA[Label]]></VolumeType>\n"
        "</VolumeInformation>\n</CaretExtension>\n"
    )


def caret_extension() -> bytes:
    """:func:`caret_xml` as a NIfTI header extension: size, code, text.

    Filled up with spaces, which are XML, not with zeros, which are not.
    """
    text = caret_xml().encode()
    size = -(-(len(text) + 8) // _EXTENSION_STEP) * _EXTENSION_STEP
    lead = size.to_bytes(4, "little") + _CARET.to_bytes(4, "little")
    return (lead + text).ljust(size)


def itk_snap() -> str:
    """ITK-SNAP's label descriptions (Segmentation > Import label descriptions)."""
    lines = [f'{BACKGROUND:5d} {0:5d} {0:4d} {0:4d} {0:8d} {0:2d} {0:2d}    "Clear Label"']
    for value, one in STRUCTURES.items():
        red, green, blue = one.rgb
        lines.append(
            f'{value:5d} {red:5d} {green:4d} {blue:4d} {1:8d} {1:2d} {1:2d}    "{one.name}"'
        )
    return _ITK_SNAP_HEAD + "\n".join(lines) + "\n"


def slicer() -> str:
    """3D Slicer's colour table; it reads an underscore in a name as a space."""
    lines = ["# Color table file abdobox.ctbl", f"# {len(STRUCTURES) + 1} values"]
    lines.append(f"{BACKGROUND} background 0 0 0 0")
    for value, one in STRUCTURES.items():
        red, green, blue = one.rgb
        lines.append(f"{value} {one.name.replace(' ', '_')} {red} {green} {blue} 255")
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Write the files of ``labels/``."""
    (folder / ITK_SNAP).write_text(itk_snap(), encoding="ascii")
    (folder / SLICER).write_text(slicer(), encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
