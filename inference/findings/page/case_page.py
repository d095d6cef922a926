"""One self-contained HTML page of a case: the scan, its labels, measures, doubts, and the run."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...grid import Grid
from ...labels import COLORS
from ...types import Image, Labels
from . import texts
from .assets import filled, niivue, part
from .frame import framed, now, printable, script_json
from .reduced import Reduced
from .summary import of_case
from .thumbnail import thumbnail

# Of many the largest: the page is to be printed on one sheet. The JSON holds all.
_MOST_LESIONS = 10


def case_page(
    document: Mapping[str, Any],
    image_ZYX: Image,
    labels_ZYX: Labels,
    grid: Grid,
    warnings: Sequence[str] = (),
) -> bytes:
    """The page, as UTF-8.

    Args:
        document: the case's statistics (:func:`inference.findings.document.document`).
        image_ZYX, labels_ZYX, grid: of the scan, in its own axis order; labels that the document
            does not hold are not shown.
        warnings: of the run about the scan, in words.

    Raises:
        ModelError: the viewer's script is not installed.
    """
    script = niivue()
    structures = document["structures"]
    present = [one["label"] for one in structures if one["state"] != "absent"]
    reduced = Reduced.of(image_ZYX, labels_ZYX, grid, present)
    made = now()
    values = {
        "doubts": _doubts(document),
        "keys": _keys(),
        "tables": _measures(structures)
        + _lesions(document["lesions"])
        + _run(document, made, warnings),
        "footer": html.escape(texts.CASE["printed_note"]),
        "view": script_json(_view(structures, reduced)),
        "niivue": script,
        "script": part("case.js"),
        **{key: html.escape(texts.CASE[key]) for key in ("viewer", "organs", "wait")},
    }
    summary = of_case(document, thumbnail(reduced), made)
    body = filled(part("case.html"), values)
    return framed(printable(document["case"]), body, part("case.css"), summary)


def _view(structures: Iterable[Mapping[str, Any]], reduced: Reduced) -> dict[str, Any]:
    shown = []
    for one in structures:
        place = reduced.place(one["label"]) if one["state"] != "absent" else None
        shown.append(
            {
                "label": one["label"],
                "name": one["name"],
                "rgb": COLORS[one["label"]],
                "doubtful": bool(one["doubtful"]),
                "short": _short(one),
                # NIfTI's axes, which the viewer's are: x to the right, y to the front.
                "place_ras_mm": None if place is None else [-place[0], -place[1], place[2]],
            }
        )
    return {
        "structures": shown,
        "windows": [{"name": name, "hu": hu} for name, hu in texts.WINDOWS],
        "texts": texts.SCRIPT,
        "image": base64.b64encode(reduced.nifti(reduced.image_ZYX)).decode(),
        "labels": base64.b64encode(reduced.nifti(reduced.labels_ZYX)).decode(),
    }


def _short(structure: Mapping[str, Any]) -> str:
    if structure["state"] == "absent":
        return "absent"
    # Of what is cut off the scan shows a part.
    cut = ", cut off" if structure["state"] == "cut off" else ""
    return f"{number(structure['volume_ml'])} ml{cut}"


def number(value: float | None) -> str:
    """Three figures, with a decimal point, and without separators of thousands.

    What is there is never shown as 0.
    """
    if value is None:
        return ""
    if 0 < value < 0.005:
        return "< 0.01"
    return f"{value:.{0 if value >= 100 else 1 if value >= 1 else 2}f}"


def _doubts(document: Mapping[str, Any]) -> str:
    said = [html.escape(words) for words in document["scan"]["doubts"]]
    for one in document["structures"]:
        if one["doubtful"]:
            words = html.escape("; ".join(one["doubts"]))
            said.append(f"{_jump(one)} (score {one['score']:.2f}): {words}")
    title = html.escape(texts.CASE["doubts"])
    if not said:
        words = html.escape(texts.CASE["no_doubts"])
        return f'<section class="doubts none"><h2>{title}</h2>{words}</section>'
    items = "".join(f"<li>{words}</li>" for words in said)
    return f'<section class="doubts"><h2>{title}</h2><ul>{items}</ul></section>'


def _keys() -> str:
    def kbd(*keys: str) -> str:
        return " ".join(f"<kbd>{key}</kbd>" for key in keys)

    return texts.KEYS.format(
        up=kbd("↑"), down=kbd("↓"), pages=kbd("Page ↑", "Page ↓"), organs=kbd("n", "p"),
        windows=kbd("1", "2", "3", "4"), view=kbd("v"), opacity=kbd("o"), only=kbd("h"),
    )  # fmt: skip


def _table(title: str, heads: Iterable[str], rows: Iterable[Sequence[str]], words: set[int]) -> str:
    """Cells are HTML already. ``words``: columns that hold words."""

    def cells(tag: str, texts: Iterable[str]) -> Iterator[str]:
        for column, text in enumerate(texts):
            kind = ' class="words"' if column in words else ""
            yield f"<{tag}{kind}>{text}</{tag}>"

    head = "".join(cells("th", map(html.escape, heads)))
    body = "".join(f"<tr>{''.join(cells('td', row))}</tr>" for row in rows)
    return (
        f'<h2>{html.escape(title)}</h2><div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _measures(structures: Iterable[Mapping[str, Any]]) -> str:
    rows = []
    for one in structures:
        row = []
        for key in texts.COLUMNS:
            value = one[key]
            if key == "name":
                row.append(_name(one))
            elif key == "state":
                row.append(html.escape(_state(one)))
            elif key == "doubts":
                mark = f'<span class="mark">{html.escape(texts.SCRIPT["doubtful"])}</span> '
                row.append((mark if one["doubtful"] else "") + _words(value))
            elif key == "score":
                row.append("" if value is None else f"{value:.2f}")
            elif key == "pieces":
                row.append(str(value or ""))
            elif key == "volume_ml":
                row.append(number(value))
            else:  # HU; round, since a format writes -0
                row.append("" if value is None else str(round(value)))
        rows.append(row)
    heads = list(texts.COLUMNS.values())
    words = {i for i, key in enumerate(texts.COLUMNS) if key in ("name", "state", "doubts")}
    return _table(texts.CASE["statistics"], heads, rows, words)


def _words(doubts: Sequence[str]) -> str:
    return f'<span class="words">{html.escape("; ".join(doubts))}</span>' if doubts else ""


def _name(structure: Mapping[str, Any]) -> str:
    red, green, blue = COLORS[structure["label"]]
    swatch = f'<span class="swatch" style="background:rgb({red},{green},{blue})"></span> '
    return swatch + _jump(structure)


def _jump(structure: Mapping[str, Any]) -> str:
    """The name, and where there is something to see, a button that shows it."""
    name = html.escape(structure["name"])
    if structure["state"] == "absent":
        return name
    return f'<button type="button" data-jump="{structure["label"]}">{name}</button>'


def _state(one: Mapping[str, Any]) -> str:
    faces = " (" + ", ".join(one["faces"]) + ")" if one["faces"] else ""
    return f"{one['state']}{faces}"


def _lesions(lesions: Sequence[Mapping[str, Any]]) -> str:
    if not lesions:
        return ""
    rows = [
        (
            str(place),
            html.escape(_state(one)),
            number(one["volume_ml"]),
            number(one["longest_axial_mm"]),
            html.escape(one["host"] or ""),
        )
        for place, one in enumerate(lesions[:_MOST_LESIONS], 1)
    ]
    table = _table(texts.CASE["lesions"], texts.LESION_COLUMNS, rows, {1, 4})
    if rest := lesions[_MOST_LESIONS:]:
        ml = number(sum(one["volume_ml"] for one in rest))
        table += f"<p>{html.escape(texts.MORE_LESIONS.format(count=len(rest), ml=ml))}</p>"
    return table


def _run(document: Mapping[str, Any], made: str, warnings: Sequence[str]) -> str:
    scan, model = document["scan"], document["model"]
    said = {
        "case": printable(document["case"]),
        "made": made,
        "program": f"abdobox {document['abdobox']}",
        "model": f"{model['name']} {model['version']}",
        "sha256": model["sha256"],
        "shape": " × ".join(map(str, scan["shape_zyx"])),
        "spacing": " × ".join(f"{s:.3g}" for s in scan["spacing_zyx_mm"]),
        "phase": scan["contrast_phase"],
        "threshold": str(document["doubtful_below"]),
        "warnings": "; ".join(map(printable, warnings)),
    }
    items = "".join(
        f"<dt>{html.escape(texts.RUN[key])}</dt><dd>{html.escape(str(value))}</dd>"
        for key, value in said.items()
        if value
    )
    return f"<h2>{html.escape(texts.CASE['run'])}</h2><dl>{items}</dl>"
