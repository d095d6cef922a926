"""Bad scans of every kind, each with words that its message must have."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math

import numpy as np

from tests.bad_files import (
    SCAN,
    Bad,
    bomb,
    contents,
    dim,
    flipped,
    link_to,
    nifti,
    pipe,
    sheared,
    spacing,
    tilted,
    unix_socket,
    with_voxel,
    zipped,
)
from tests.bad_text_kinds import BAD_TEXT
from tests.inference.nifti_files import nifti_bytes

BAD: dict[str, Bad] = {
    # The gzip layer
    "gzip cut in the header": Bad(contents(zipped()[:6]), "truncated"),
    "gzip cut in the middle": Bad(contents(zipped()[:300]), "truncated"),
    "gzip cut before the trailer": Bad(contents(zipped()[:-8]), "truncated"),
    "gzip cut in the trailer": Bad(contents(zipped()[:-3]), "truncated"),
    "gzip data corrupt": Bad(contents(flipped(zipped(), 200)), "corrupt"),
    "gzip checksum wrong": Bad(contents(flipped(zipped(), -6)), "corrupt"),
    "gzip length wrong": Bad(contents(flipped(zipped(), -2)), "corrupt"),
    "gzip of nothing": Bad(contents(gzip.compress(b"")), "empty"),
    "half a gzip behind the gzip": Bad(contents(zipped() + gzip.compress(b"")[:12]), "truncated"),
    "gzip and too many zeros": Bad(contents(zipped() + bytes(20 << 20)), "far beyond"),
    "gzip bomb": Bad(bomb, "far beyond"),
    # The file itself
    "empty file": Bad(contents(b""), "empty"),
    "one byte": Bad(contents(b"\x1f"), "no NIfTI"),
    "text named .nii.gz": Bad(contents(b"these are no voxels\n" * 50), "no NIfTI"),
    "a DICOM file named .nii.gz": Bad(contents(bytes(128) + b"DICM" + bytes(400)), "no NIfTI"),
    "header cut": Bad(contents(nifti_bytes(SCAN)[:200], ".nii"), "no NIfTI"),
    "a link to nothing": Bad(link_to("nowhere.nii.gz"), "No such file"),
    "a link to itself": Bad(link_to(""), "Too many levels"),
    "a pipe that nobody writes to": Bad(pipe(".nii.gz"), "pipe"),
    "a pipe as nrrd": Bad(pipe(".nrrd"), "pipe"),
    "a socket": Bad(unix_socket, "cannot be read"),
    "a web page of an error": Bad(contents(b"<!DOCTYPE html><html>404</html>" * 20), "no NIfTI"),
    "a zip archive": Bad(contents(b"PK\x03\x04" + bytes(600)), "no NIfTI"),
    "a bzip2 file": Bad(contents(bz2.compress(nifti_bytes(SCAN))), "no NIfTI"),
    "an xz file": Bad(contents(lzma.compress(nifti_bytes(SCAN))), "no NIfTI"),
    "gzip in gzip": Bad(contents(zipped(zipped())), "no NIfTI"),
    "a hole instead of a file": Bad(contents(bytes(4096), ".nii"), "no NIfTI"),
    "a git-lfs pointer": Bad(contents(b"version https://git-lfs.github.com/spec/v1\n"), "no NIfTI"),
    # The header
    "wrong magic": Bad(nifti(magic=b"abc\0"), "magic"),
    "wrong header size": Bad(nifti(sizeof_hdr=347), "header size"),
    "Analyze 7.5": Bad(nifti(".nii", magic=bytes(4)), "magic"),
    "a pair's header": Bad(nifti(magic=b"ni1\0", vox_offset=0), "pair"),
    "header larger than the data": Bad(nifti(**dim(3, 8, 7, 60)), "announces"),
    "header larger than the plain data": Bad(nifti(".nii", **dim(3, 8, 7, 7)), "announces"),
    "2D": Bad(nifti(**dim(2, 8, 7)), "2 dimensions"),
    "1D": Bad(nifti(**dim(1, 8)), "1 dimensions"),
    "no dimensions": Bad(nifti(**dim(0)), "0 dimensions"),
    "8 dimensions": Bad(nifti(**dim(8, 8, 7, 6)), "8 dimensions"),
    "4D with two frames": Bad(nifti(**dim(4, 8, 7, 3, 2)), "not one volume"),
    "5D vectors": Bad(nifti(**dim(5, 8, 7, 2, 1, 3)), "not one volume"),
    "zero-size axis": Bad(nifti(**dim(3, 8, 0, 6)), "empty or negative"),
    "negative axis": Bad(nifti(**dim(3, 8, -7, 6)), "empty or negative"),
    "one slice": Bad(nifti(**dim(3, 8, 7, 1)), "single slice"),
    "one column": Bad(nifti(**dim(3, 1, 7, 8)), "single slice"),
    "axis of 16k": Bad(nifti(**dim(3, 16384, 2, 2)), "8192 per axis"),
    "more voxels than memory": Bad(nifti(**dim(3, 8000, 8000, 8000)), "claims"),
    "zero spacing": Bad(nifti(**spacing(0)), "spacing"),
    "negative spacing": Bad(nifti(**spacing(-1)), "spacing"),
    "NaN spacing": Bad(nifti(**spacing(math.nan)), "spacing"),
    "infinite spacing": Bad(nifti(**spacing(math.inf)), "spacing"),
    "absurdly small spacing": Bad(nifti(**spacing(1e-4)), "spacing"),
    "absurdly large spacing": Bad(nifti(**spacing(1e4)), "spacing"),
    "field of view of a house": Bad(nifti(**spacing(40), **dim(3, 84, 2, 2)), "field of view"),
    "spacing in micrometres called metres": Bad(nifti(xyzt_units=1), "spacing"),
    "spacing in metres": Bad(nifti(**spacing(0.001, 0.001, 0.005)), "spacing"),
    "spacing in micrometres": Bad(nifti(**spacing(800, 800, 5000)), "spacing"),
    "sheared": Bad(nifti(**sheared(0.3)), "right angles"),
    "gantry tilt of 15 degrees": Bad(nifti(**tilted(15.0), qform_code=0), "gantry tilt"),
    "sheared a little too much": Bad(nifti(**sheared(0.021)), "right angles"),
    "orientation singular": Bad(
        nifti(qform_code=0, srow=(1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0)), "orientation"
    ),
    "orientation NaN": Bad(nifti(quatern=(math.nan,) * 3, srow=(math.nan,) * 12), "orientation"),
    "origin NaN": Bad(nifti(sform_code=0, qoffset=(math.nan, 0, 0)), "origin"),
    "RGB": Bad(nifti(datatype=128, bitpix=24), "colour"),
    "complex": Bad(nifti(voxels=SCAN.astype(np.complex64)), "complex"),
    "binary voxels": Bad(nifti(datatype=1, bitpix=1), "type 1 "),
    "float128": Bad(nifti(datatype=1536, bitpix=128), "type 1536"),
    "bits for wider voxels, which are there": Bad(
        nifti(voxels=SCAN.astype(np.int32), datatype=4), "bits per voxel"
    ),
    "voxels inside the header": Bad(nifti(vox_offset=100), "byte 100"),
    "voxels at NaN": Bad(nifti(vox_offset=math.nan), "byte nan"),
    "voxels at minus one": Bad(nifti(vox_offset=-1), "byte -1"),
    "voxels within the extension flag": Bad(nifti(vox_offset=350), "byte 350"),
    "voxels perhaps within the extension flag": Bad(nifti(vox_offset=348), "byte 348"),
    "origin of another galaxy": Bad(
        nifti(qform_code=0, srow=(1, 0, 0, 1e30, 0, 2, 0, 0, 0, 0, 5, 0)), "origin of 1e+30"
    ),
    "voxels beyond the file": Bad(nifti(vox_offset=1e6), "truncated"),
    "voxels far beyond any file": Bad(nifti(vox_offset=1e12), "byte 1e+12"),
    "slope fine, intercept NaN": Bad(nifti(scl_inter=math.nan), "scl_inter"),
    "intercept infinite": Bad(nifti(scl_inter=math.inf), "scl_inter"),
    # The voxels
    "NaN voxel": Bad(nifti(voxels=with_voxel(math.nan)), "NaN"),
    "infinite voxel": Bad(nifti(voxels=with_voxel(-math.inf)), "infinite"),
    "constant": Bad(nifti(voxels=np.full_like(SCAN, -1024)), "nothing but the value -1024"),
    "constant after scaling": Bad(nifti(scl_slope=1e-30, scl_inter=40), "nothing but the value 40"),
    "float64 beyond float32": Bad(
        nifti(voxels=with_voxel(0).astype(float) * 1e300), "beyond float32"
    ),
    **BAD_TEXT,
}  # fmt: skip
