"""Fail unless every scan of a folder has labels of its exact geometry, as SimpleITK reads both."""

import sys
from pathlib import Path

import SimpleITK as sitk

inputs, outputs = (Path(argument) for argument in sys.argv[1:3])
scans = sorted(inputs.glob("*_0000.nii.gz"))
if not scans:
    sys.exit(f"{inputs} holds no scan")
for scan in scans:
    image = sitk.ReadImage(str(scan))
    labels = sitk.ReadImage(str(outputs / scan.name.replace("_0000", "")))
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        if getattr(image, name)() != getattr(labels, name)():
            sys.exit(f"{scan.name}: {name} differs")
    if labels.GetPixelID() != sitk.sitkUInt8:
        sys.exit(f"{scan.name}: labels are {labels.GetPixelIDTypeAsString()}")
    values = sitk.GetArrayViewFromImage(labels)
    if not 1 <= len(set(values.ravel().tolist())) <= 15 or values.max() > 14 or values.max() == 0:
        sys.exit(f"{scan.name}: labels {values.min()}..{values.max()}")
