"""Which files of a folder, tree or .zip may be DICOM: by their first bytes, not their names.

Imports no DICOM library: a folder without DICOM files never needs one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...errors import HeaderError
from .files import Archive, DicomFile

# Of other formats, results and papers; what has no suffix, or an unknown one, is looked into.
_NEVER = re.compile(
    r"\.(bmp|bval|bvec|csv|gif|gz|h5|html?|ini|jpe?g|js|json|log|md|mh[ad]|nhdr|nii|np[yz]|nrrd|pdf"
    r"|png|ps|pth?|py|raw|rtf|safetensors|sh|stl|tar|tiff?|toml|tsv|txt|xlsx?|xml|ya?ml|7z)",
    re.IGNORECASE,
)
_START_BYTES = 132
_VRS = (b"UL", b"CS", b"UI", b"SH", b"LO", b"DA", b"TM", b"OB")
_MOST_MEMBERS = 200_000


@dataclass
class Candidates:
    """What was found.

    Attributes:
        files: those that begin as DICOM files do, folder by folder.
        broken: files among them that are empty or no DICOM though their name says so, with why.
        left_out: folders and links that were not looked into, with why.
    """

    files: list[DicomFile] = field(default_factory=list)
    broken: list[tuple[DicomFile, str]] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)

    def look_at(self, file: DicomFile, known: bool = False) -> None:
        """Add a file if it is DICOM, or named so. ``known``: it was named as the input."""
        named = known or str(file).lower().endswith(".dcm")
        try:
            start = file.start(_START_BYTES)
        except HeaderError as error:
            start, cause = b"", str(error)
        except OSError as error:
            start, cause = b"", f"cannot be read ({error.strerror or error})"
        else:
            cause = "is no DICOM file" if start else "is empty"
        if begins_as_dicom(start):
            self.files.append(file)
        elif named or not start:
            self.broken.append((file, cause))

    def look_into(self, path: Path) -> None:
        """Add the members of a .zip."""
        try:
            archive = Archive(path)
            members = archive.members()
        except HeaderError as error:
            self.broken.append((DicomFile(path), str(error)))
            return
        except OSError as error:
            self.broken.append((DicomFile(path), f"cannot be read ({error.strerror or error})"))
            return
        if len(members) > _MOST_MEMBERS:
            self.broken.append((DicomFile(path), f"holds more than {_MOST_MEMBERS} files"))
            return
        for info in sorted(members, key=lambda info: info.filename):
            name = PurePosixPath(info.filename.replace("\\", "/"))
            file = DicomFile(path, info.filename, archive)
            if not name.parts:
                self.left_out.append((path, "one of its files has no name"))
            elif name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
                self.left_out.append((path / name.name, "its name leads out of its .zip"))
            elif not _NEVER.fullmatch(name.suffix) and not _hidden(name.parts):
                self.look_at(file)


def candidates(source: Path, without: Path | None = None) -> Candidates:
    """Look through a file, a .zip, or a folder and all below it (.zips included).

    Links are followed where they stay within the folder. Hidden files and folders are passed over.

    Args:
        source: file, .zip or folder.
        without: a folder that is not looked into: the output's.
    """
    found = Candidates()
    if source.is_dir():
        for path in _below(source, without, found):
            if path.suffix.lower() == ".zip":
                found.look_into(path)
            elif not _NEVER.fullmatch(path.suffix):
                found.look_at(DicomFile(path))
    elif source.suffix.lower() == ".zip":
        found.look_into(source)
    else:
        found.look_at(DicomFile(source), known=True)
    return found


def _below(root: Path, without: Path | None, found: Candidates) -> Iterator[Path]:
    """The files of a tree, folder by folder, each folder once whatever links say."""
    real_root = os.path.realpath(root)
    seen = {real_root} | ({os.path.realpath(without)} if without is not None else set())
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            found.left_out.append((folder, f"cannot be read ({error.strerror})"))
            continue
        deeper = []
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                real = os.path.realpath(path)
                if not Path(real).is_relative_to(real_root):
                    if not _NEVER.fullmatch(path.suffix):  # a scan of another format, or no image
                        reason = "is a link that leads out of the input folder"
                        found.left_out.append((path, reason))
                    continue
            if os.path.isdir(path):  # noqa: PTH112 (False for a link to where nobody may look)
                real = os.path.realpath(path)
                if real not in seen:
                    seen.add(real)
                    deeper.append(path)
            else:
                yield path
        folders += reversed(deeper)


def _hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") for part in parts) or "__MACOSX" in parts


def is_dicom(path: Path) -> bool:
    """Whether a file's first bytes are DICOM's; False where it cannot be read."""
    try:
        return begins_as_dicom(DicomFile(path).start(_START_BYTES))
    except (HeaderError, OSError):
        return False


def begins_as_dicom(start: bytes) -> bool:
    """By the prefix (PS3.10, 7.1), or by a data set's first element where there is none."""
    if start[128:132] == b"DICM":
        return True
    little, big = start[:2] in (b"\x02\0", b"\x08\0"), start[:2] in (b"\0\x02", b"\0\x08")
    if not (little or big) or len(start) < 16:
        return False
    implicit = little and int.from_bytes(start[4:8], "little") <= 256
    return start[4:6] in _VRS or implicit
