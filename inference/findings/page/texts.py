"""All words of the pages, in one place. Numbers have decimal points; times are UTC, ISO 8601."""

from __future__ import annotations

NOTICE = "Not a medical device. For research; labels may be wrong."
KEYS = (
    "Keys: {up}{down} slice, {pages} ten slices, {organs} next, previous structure, "
    "{windows} window, {view} view, {opacity} labels on and off, {only} selected structure alone."
)

CASE = {
    "viewer": "Scan and labels",
    "organs": "Structures",
    "wait": "Loading …",
    "doubts": "Doubts",
    "no_doubts": "No doubts about this scan's labels. That is no proof that they are right.",
    "statistics": "Measures",
    "lesions": "Lesions",
    "run": "Run",
    "printed_note": "Pictures show the scan on a coarser grid; measures are of the whole scan.",
}

# What the script shows.
SCRIPT = {
    "window": "Window",
    "view": "View",
    "view_multi": "All",
    "view_axial": "Axial",
    "view_coronal": "Coronal",
    "view_sagittal": "Sagittal",
    "view_render": "3D",
    "opacity": "Labels",
    "only": "Selected alone",
    "doubtful": "doubtful",
    "background": "no label",
    "no_view": "The pictures cannot be shown: this browser has no WebGL 2, or it is switched off.",
}

# HU at black and at white.
WINDOWS = (
    ("Soft tissue", (-160, 240)),
    ("Liver", (-10, 160)),
    ("Lung", (-1350, 150)),
    ("Bone", (-450, 1050)),
)

COLUMNS = {
    "name": "Structure",
    "state": "State",
    "volume_ml": "ml",
    "mean_hu": "mean HU",
    "sd_hu": "SD HU",
    "p5_hu": "p5 HU",
    "p50_hu": "p50 HU",
    "p95_hu": "p95 HU",
    "pieces": "Pieces",
    "score": "Score",
    "doubts": "Doubts",
}
LESION_COLUMNS = ("No.", "State", "ml", "Longest axial diameter, mm", "Touches most")
MORE_LESIONS = "and {count} smaller, {ml} ml in all"
RUN = {
    "case": "Case",
    "made": "Made",
    "program": "Program",
    "model": "Model",
    "sha256": "SHA-256 of the weights",
    "shape": "Scan, voxels (z, y, x)",
    "spacing": "Voxel size (z, y, x), mm",
    "phase": "Contrast phase, guessed",
    "threshold": "Doubtful below a score of",
    "warnings": "Warnings",
}

FAILED = {
    "title": "Failed: no labels were made",
    "older": "Labels of this name beside this page are those of an earlier run.",
}

FOLDER = {
    "title": "abdobox: cases",
    "search": "Search",
    "doubtful_only": "Doubtful and failed only",
    "failed": "failed",
    "count": "cases",
    "picture": "Picture",
    "case": "Case",
    "doubtful": "Doubts",
    "liver_ml": "Liver, ml",
    "spleen_ml": "Spleen, ml",
    "kidneys_ml": "Kidneys, ml",
    "lesions": "Lesions",
    "lesions_ml": "Lesions, ml",
    "made": "Made",
    "none": "none",
}
