"""Bad NRRD and MetaImage scans of every kind; see :mod:`tests.bad_kinds`."""

from __future__ import annotations

import bz2
import gzip
import math
import zlib

import numpy as np

from tests.bad_files import (
    SCAN,
    Bad,
    contents,
    corrupted,
    cut,
    edited,
    flipped,
    mhd,
    nrrd,
    png,
    simpleitk,
    text_mha,
    text_nrrd,
    with_voxel,
)
from tests.inference.nifti_files import nifti_bytes

# Name -> space directions, and words that the message must have.
DIRECTIONS = {
    "nrrd direction NaN": ("(nan,nan,nan) (0,1,0) (0,0,1)", "space directions"),
    "nrrd direction infinite": ("(inf,0,0) (0,1,0) (0,0,1)", "space directions"),
    "nrrd direction of nothing": ("(0,0,0) (0,1,0) (0,0,1)", "spacing"),
    "nrrd two directions for three axes": ("(1,0,0) (0,1,0)", "no vector for each of 3 axes"),
    "nrrd sheared": ("(1,0,0) (0.05,1,0) (0,0,1)", "right angles"),
    "nrrd two axes the same": ("(1,0,0) (1,0,0) (0,0,1)", "orientation"),
    "nrrd directions with decimal commas": ("(1,5,0,0) (0,1,5,0) (0,0,2,0)", "three numbers"),
    "nrrd of axes without a place": ("none (0,1,0) (0,0,1)", "places 2 axes in space"),
}
BAD_TEXT: dict[str, Bad] = {
    # Files that are cut, or none of their format
    "nrrd cut": Bad(cut(simpleitk(".nrrd"), 0.6), "announces"),
    "compressed nrrd cut": Bad(cut(simpleitk(".nrrd", compress=True), 0.6), "truncated"),
    "nrrd cut in its header": Bad(cut(simpleitk(".nrrd"), 0.01), "no NRRD"),
    "mha cut": Bad(cut(simpleitk(".mha"), 0.6), "announces"),
    "compressed mha cut": Bad(cut(simpleitk(".mha", compress=True), 0.6), "truncated"),
    "compressed mha corrupt": Bad(corrupted(simpleitk(".mha", compress=True)), "corrupt"),
    "compressed nrrd corrupt": Bad(corrupted(simpleitk(".nrrd", compress=True)), "corrupt"),
    "mha cut in its header": Bad(cut(simpleitk(".mha"), 0.2), "no MetaImage"),
    "mhd with short data": Bad(mhd("ElementDataFile = short.raw", data=bytes(99)), "announces"),
    "nrrd empty": Bad(contents(b"", ".nrrd"), "empty"),
    "mha of text": Bad(contents(b"no header\n" * 9, ".mha"), "no MetaImage"),
    "nhdr without its data": Bad(nrrd("data file: gone.raw"), "gone.raw cannot be read (No such"),
    "nrrd 2D": Bad(simpleitk(".nrrd", SCAN[0]), "not one volume"),
    "mha with colours": Bad(
        simpleitk(".mha", np.zeros((4, 5, 6, 3), np.uint8), vector=True), "grey values"
    ),
    "mha with one slice": Bad(simpleitk(".mha", SCAN[:1]), "single slice"),
    "mha constant": Bad(simpleitk(".mha", np.zeros_like(SCAN)), "nothing but the value 0"),
    "mha with NaN": Bad(simpleitk(".mha", with_voxel(math.nan)), "NaN"),
    "mha with huge axes": Bad(
        edited(simpleitk(".mha"), b"DimSize = 8 7 6", b"DimSize = 8000 8000 8000"), "claims"
    ),
    "mha with tiny spacing": Bad(
        edited(simpleitk(".mha"), b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 1 1e-5"),
        "spacing",
    ),
    "mhd without its data": Bad(
        mhd("ElementDataFile = gone.raw"), "gone.raw cannot be read (No such"
    ),
    "mhd that names a parent's file": Bad(mhd("ElementDataFile = ../secret.raw"), "outside"),
    "mhd that names a system's file": Bad(mhd("ElementDataFile = /etc/passwd"), "outside"),
    "mha that names a system's file": Bad(mhd("ElementDataFile: /etc/passwd", ".mha"), "outside"),
    "mhd that names a null byte": Bad(mhd("ElementDataFile = a\0b.raw"), "outside"),
    "mhd in several files": Bad(mhd("ElementDataFile = LIST\na.raw\nb.raw"), "several files"),
    "mhd in numbered files": Bad(mhd("ElementDataFile = s%03d.raw 1 6 1"), "several files"),
    "nhdr that names a parent's file": Bad(nrrd("data file: ../secret.raw"), "outside"),
    "nhdr that names a system's file": Bad(nrrd("DataFile: /dev/zero"), "outside"),
    "nrrd that names a system's file": Bad(nrrd("data file: /dev/zero", ".nrrd"), "outside"),
    "nhdr in several files": Bad(nrrd("data file: LIST"), "several files"),
    "nhdr whose data are a folder": Bad(nrrd("data file: ."), "no file"),
    "a PNG named .nrrd": Bad(png(".nrrd"), "no NRRD"),
    "a NIfTI named .mha": Bad(contents(nifti_bytes(SCAN), ".mha"), "no MetaImage"),
    "a NIfTI named .nrrd": Bad(contents(nifti_bytes(SCAN), ".nrrd"), "no NRRD"),
    "a PNG named .mha": Bad(png(".mha"), "no MetaImage"),
    # Text headers that make no sense, or too much
    "nrrd origin NaN": Bad(text_nrrd(space_origin="(nan,nan,nan)"), "origin that is not a number"),
    "nrrd origin of two numbers": Bad(text_nrrd(space_origin="(1,2)"), "vector of three numbers"),
    **{
        name: Bad(text_nrrd(space_directions=directions), words)
        for name, (directions, words) in DIRECTIONS.items()
    },
    "nrrd spacings with decimal commas": Bad(
        text_nrrd(space=None, space_directions=None, space_origin=None, spacings="1,5 1,5 2,0"),
        "spacings that is no number (1,5)",
    ),
    "nrrd spacings NaN": Bad(
        text_nrrd(space=None, space_directions=None, space_origin=None, spacings="nan nan nan"),
        "spacing",
    ),
    "nrrd spacings twice, by directions too": Bad(text_nrrd(spacings="1 1 1"), "both"),
    "nrrd sizes with an underscore": Bad(text_nrrd(sizes="8 7 6_0"), "no whole number (6_0)"),
    "nrrd sizes too few": Bad(text_nrrd(sizes="8 42"), "2 numbers for 3"),
    "nrrd size 0": Bad(text_nrrd(sizes="8 0 6"), "empty or negative"),
    "nrrd size negative": Bad(text_nrrd(sizes="8 7 -6"), "empty or negative"),
    "nrrd size beyond all": Bad(text_nrrd(sizes="8 7 99999999999999999999"), "whole number"),
    "nrrd of a billion axes": Bad(text_nrrd(dimension="1000000000"), "1000000000 dimensions"),
    "nrrd of colours": Bad(
        text_nrrd(dimension="4", sizes="3 8 7 2", kinds="RGB-color domain domain domain",
                  space_directions="none (1,0,0) (0,1,0) (0,0,1)"),
        "not one volume",
    ),
    "nrrd in time": Bad(
        text_nrrd(dimension="4", sizes="8 7 3 2", kinds="domain domain domain time",
                  space_directions="(1,0,0) (0,1,0) (0,0,1) none"),
        "not one volume",
    ),
    "nrrd of a space with time": Bad(text_nrrd(space="LPST"), "another kind"),
    "nrrd in centimetres": Bad(text_nrrd(space_units='"cm" "cm" "cm"'), "in cm"),
    "nrrd in centimetres without quotes": Bad(text_nrrd(space_units="cm cm cm"), "in cm"),
    "nrrd in metres": Bad(text_nrrd(space_units='"mm" "mm" "Meters"'), "in Meters"),
    "nrrd in micrometres": Bad(
        edited(text_nrrd(units="@"), b"@", '"µm" "µm" "µm"'.encode()), "states its lengths in"
    ),
    "nrrd of slices in time": Bad(
        text_nrrd(kinds="domain domain time", space=None, space_directions=None, space_origin=None,
                  spacings="1 1 1"),
        "8 x 7 x 6 (domain domain time)",
    ),
    "nrrd of an unknown kind of axis": Bad(text_nrrd(kinds="row domain domain"), "(row domain"),
    "nrrd origin of another galaxy": Bad(text_nrrd(space_origin="(1e300,0,0)"), "1e+300"),
    "nrrd in UTF-16": Bad(
        contents(b"\xff\xfe" + "NRRD0005\ntype: short\n".encode("utf-16-le"), ".nrrd"), "UTF-16"
    ),
    "nrrd of a header without end": Bad(
        edited(text_nrrd(), b"endian", b"# " + b"x" * (1 << 20) + b"\nendian"), "1048576 bytes"
    ),
    "nhdr in several files, with a number": Bad(nrrd("data file: LIST 2\na.raw"), "several files"),
    "nhdr in several files, some skipped": Bad(nrrd("data file: SKIPLIST\na"), "several files"),
    "nhdr in numbered files": Bad(nrrd("data file: s%02u.raw 1 6 1"), "several files"),
    "nrrd without an endian": Bad(text_nrrd(endian=None), "endian"),
    "nrrd of another endian": Bad(text_nrrd(endian="middle"), "endian"),
    "nrrd of an unknown type": Bad(text_nrrd(type="half"), "unknown type (half)"),
    "nrrd of blocks": Bad(text_nrrd(type="block"), "unknown type (block)"),
    "nrrd of an unknown encoding": Bad(text_nrrd(encoding="zip"), "unknown encoding"),
    "nrrd with a field misspelt": Bad(text_nrrd(space_direction="none"), "does not know"),
    "nrrd with a field twice": Bad(
        edited(text_nrrd(), b"endian: little", b"endian: little\nEndian: big"), "endian twice"
    ),
    "nrrd with a line that is no field": Bad(
        edited(text_nrrd(), b"endian: little", b"endian little"), "no field"
    ),
    "nrrd without its sizes": Bad(text_nrrd(sizes=None), "lacks sizes"),
    "nrrd of no end": Bad(edited(text_nrrd(b""), b"\n\n", b"\n"), "ends before its header"),
    "nrrd of a version to come": Bad(edited(text_nrrd(), b"NRRD0005", b"NRRD0006"), "no NRRD"),
    "nrrd text of one long word": Bad(
        text_nrrd(SCAN.tobytes().hex().encode() * 9, encoding="ascii"), "no numbers"
    ),
    "nrrd text of words": Bad(text_nrrd(b"these are no voxels " * 30, encoding="text"), "no numb"),
    "nrrd text of other numbers": Bad(text_nrrd(b"1.5 " * 400, encoding="text"), "int16"),
    "nrrd text beyond the type": Bad(text_nrrd(b"99999 " * 400, encoding="text"), "int16"),
    "nrrd text with commas": Bad(text_nrrd(b"1,2," * 400, encoding="text"), "no numbers"),
    "nrrd text too short": Bad(text_nrrd(b"1 2 3\n", encoding="text"), "holds 3 of the 336"),
    "nrrd of other letters than hexadecimal": Bad(
        text_nrrd(b"xy" * 999, encoding="hex"), "hexadecimal"
    ),
    "nrrd hexadecimal too short": Bad(text_nrrd(b"00" * 99, encoding="hex"), "holds 99 of the 672"),
    "nrrd gzip of nothing": Bad(text_nrrd(gzip.compress(b""), encoding="gzip"), "holds 0 of"),
    "nrrd gzip that is none": Bad(text_nrrd(encoding="gzip"), "corrupt"),
    "nrrd gzip bomb": Bad(
        text_nrrd(gzip.compress(bytes(32 << 20), 1), encoding="gzip"), "far beyond"
    ),
    "nrrd bzip2 cut": Bad(
        text_nrrd(bz2.compress(SCAN.tobytes())[:-9], encoding="bzip2"), "truncated"
    ),
    "nrrd bzip2 corrupt": Bad(
        text_nrrd(flipped(bz2.compress(SCAN.tobytes()), 50), encoding="bzip2"), "corrupt"
    ),
    "nrrd skips beyond its end": Bad(text_nrrd(byte_skip="700"), "truncated"),
    "nrrd skips backwards beyond its data": Bad(text_nrrd(byte_skip="-2"), "holds 671 of the 672"),
    "nrrd gzip skips backwards beyond its data": Bad(
        text_nrrd(gzip.compress(SCAN.tobytes()), encoding="gzip", byte_skip="-2"),
        "holds 671 of the 672",
    ),
    "nrrd text skips backwards": Bad(text_nrrd(b"1 2", encoding="text", byte_skip="-1"), "skips"),
    "nrrd skips backwards without end": Bad(text_nrrd(byte_skip="-999999999"), "skips"),
    "nrrd skips lines that are none": Bad(text_nrrd(b"\0" * 99999, line_skip="3"), "lines"),
    "nhdr of no voxels' name": Bad(nrrd("data file: "), "names no file"),
    "mha of a billion axes": Bad(text_mha(NDims="1000000000"), "1000000000 dimensions"),
    "mha of minus three axes": Bad(text_mha(NDims="-3"), "-3 dimensions"),
    "mha of strings": Bad(
        text_mha(b"1 " * 336, ElementType="MET_STRING", BinaryData="False"), "MET_STRING"
    ),
    "mha text of one long word": Bad(text_mha(b"9" * 99999, BinaryData="False"), "no numbers"),
    "mha singular": Bad(text_mha(TransformMatrix="1 0 0 1 0 0 0 0 1"), "orientation"),
    "mha of long axes": Bad(text_mha(TransformMatrix="2 0 0 0 1 0 0 0 1"), "unit vectors"),
    "mha matrix NaN": Bad(text_mha(TransformMatrix="nan 0 0 0 1 0 0 0 1"), "not all numbers"),
    "mha matrix of 2D": Bad(text_mha(TransformMatrix="1 0 0 1"), "4 numbers for 9"),
    "mha origin NaN": Bad(text_mha(Offset="nan 0 0"), "origin that is not a number"),
    "mha two origins": Bad(text_mha(Position="7 8 9"), "disagree"),
    "mha two matrices": Bad(text_mha(Orientation="0 1 0 1 0 0 0 0 1"), "disagree"),
    "mha two spacings": Bad(
        edited(text_mha(), b"NDims = 3", b"ElementSpacing = 9 9 9\nNDims = 3"), "twice"
    ),
    "mha spacing NaN": Bad(text_mha(ElementSpacing="nan 1 1"), "spacing"),
    "mha spacing with decimal commas": Bad(text_mha(ElementSpacing="0,7 0,7 2,5"), "no number"),
    "mha spacing negative": Bad(text_mha(ElementSpacing="1 -1 1"), "spacing"),
    "mha in centimetres": Bad(text_mha(DistanceUnits="cm"), "in cm"),
    "mha in metres": Bad(text_mha(DistanceUnits="metre"), "in metre"),
    "mha compressed and of text": Bad(
        text_mha(zlib.compress(b"7 " * 999), CompressedData="True", BinaryData="False"),
        "compressed, and that they are text",
    ),
    "mha of two byte orders": Bad(text_mha(ElementByteOrderMSB="True"), "disagree"),
    "mha origin of another galaxy": Bad(text_mha(Offset="0 -1e6 0"), "origin of 0 -1e+06 0 mm"),
    "mha of axes a little too long": Bad(
        text_mha(TransformMatrix="1.021 0 0 0 1 0 0 0 1"), "unit vectors (length 1.021)"
    ),
    "mha in UTF-16": Bad(
        contents(b"\xfe\xff" + "ObjectType = Image\n".encode("utf-16-be"), ".mha"), "UTF-16"
    ),
    "mha of a header without end": Bad(text_mha(Comment="x" * (1 << 20)), "1048576 bytes"),
    "mha with a line that is no field": Bad(
        edited(text_mha(), b"NDims", b"this is none\nNDims"), "line 2 of its header is no field"
    ),
    "mhd in a list of several files": Bad(mhd("ElementDataFile = List 3\na.raw"), "several files"),
    "mhd in numbered files of another kind": Bad(
        mhd("ElementDataFile = s%03i.raw 1 6 1"), "several files"
    ),
    "mhd that names its own folder": Bad(mhd("ElementDataFile = ."), "no file"),
    "mha of vectors": Bad(text_mha(ElementNumberOfChannels="3"), "8 x 7 x 6 voxels of 3 values"),
    "mha 2D": Bad(text_mha(NDims="2", DimSize="8 42"), "not one volume"),
    "mha 4D with two frames": Bad(text_mha(NDims="4", DimSize="8 7 3 2"), "not one volume"),
    "mha of a header size": Bad(text_mha(HeaderSize="6"), "HeaderSize of 6"),
    "mha raw at the end, and too short": Bad(
        text_mha(SCAN.tobytes()[:-9], HeaderSize="-1"), "holds 663 of the 672"
    ),
    "nrrd raw at the end, and too short": Bad(
        text_nrrd(SCAN.tobytes()[:-9], byte_skip="-1"), "holds 663 of the 672"
    ),
    "mha of headers of slices": Bad(text_mha(HeaderSizePerSlice="6"), "every slice"),
    "mha of a mesh": Bad(text_mha(ObjectType="Mesh"), "MetaIO Mesh"),
    "mha zlib that is none": Bad(text_mha(CompressedData="True"), "corrupt"),
    "mha zlib checksum wrong": Bad(
        text_mha(flipped(zlib.compress(SCAN.tobytes()), -1), CompressedData="True"), "corrupt"
    ),
    "mha zlib of half the voxels": Bad(
        text_mha(zlib.compress(SCAN[:3].tobytes()), CompressedData="True"), "holds 336 of the 672"
    ),
    "mha zlib bomb": Bad(
        text_mha(zlib.compress(bytes(32 << 20), 1), CompressedData="True"), "far beyond"
    ),
    "mha perhaps compressed": Bad(text_mha(CompressedData="maybe"), "neither True nor False"),
    "mha with much more behind": Bad(text_mha(bytes(20 << 20)), "far beyond"),
    "mhd with a path of Windows": Bad(
        mhd("ElementDataFile = C:\\data\\scan.raw"), "C:\\data\\scan.raw cannot be read (No such"
    ),
    "mhd of a name beyond all": Bad(mhd(f"ElementDataFile = {'k' * 300}"), "name too long"),
    "mhd of no voxels' name": Bad(mhd("ElementDataFile ="), "names no file"),
    "mha sheared": Bad(
        edited(
            simpleitk(".mha"),
            b"TransformMatrix = 1 0 0 0 1 0 0 0 1",
            b"TransformMatrix = 1 0 0 0.5 0.866 0 0 0 1",
        ),
        "right angles",
    ),
}  # fmt: skip
