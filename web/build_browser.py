"""The page that segments in a browser, as one file: ``make browser-page``.

Holds NiiVue, ONNX Runtime's script and WebAssembly, the model and the scripts of ``web/browser``.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import html
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from inference.findings.page import texts
from inference.findings.page.assets import filled, niivue, niivue_notices, part
from inference.findings.page.frame import framed, script_json
from inference.labels import COLORS, NAMES
from inference.model.folder import WEIGHTS
from training.ship.onnx import write_onnx

_HERE = Path(__file__).resolve().parent / "browser"
_RUNTIME = "onnxruntime-web/dist/ort.wasm.bundle.min.mjs"
_WASM = "onnxruntime-web/dist/ort-wasm-simd-threaded.wasm"
# What the page holds, it may run; nothing comes from elsewhere, and nothing goes there.
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'wasm-unsafe-eval' blob: data:; "
    "worker-src blob:; style-src 'unsafe-inline'; img-src data: blob:; connect-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
_TITLE = "abdobox in a browser"
_KEYS = ("spacing_mm", "clip_hu", "mean_hu", "std_hu")


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m web.build_browser", description=__doc__)
    parser.add_argument("modules", type=Path, help="node_modules that npm ci has filled")
    parser.add_argument("folder", type=Path, help="gets index.html, the model, and the licences")
    parser.add_argument("--model", default="tiny", help="name in weights/ (default: %(default)s)")
    args = parser.parse_args(arguments)
    folder: Path = args.folder
    folder.mkdir(parents=True, exist_ok=True)
    onnx_file = folder / f"{args.model}.onnx"
    graph = write_onnx(WEIGHTS / args.model, onnx_file)
    wasm = (args.modules / _WASM).read_bytes()
    runtime = (args.modules / _RUNTIME).read_text(encoding="utf-8")
    page = browser_page(onnx_file.read_bytes(), described(graph), wasm, runtime)
    (folder / "index.html").write_bytes(page)
    (folder / "LICENSES.txt").write_text(_notices(), encoding="utf-8")
    wasm_part = len(_packed(wasm))
    print(
        f"{folder / 'index.html'}: {len(page) / 1e6:.1f} MB, of these {wasm_part / 1e6:.1f} MB "
        f"WebAssembly ({len(wasm) / 1e6:.1f} MB unpacked), the rest model and code"
    )
    return 0


def described(graph: Any) -> dict[str, Any]:
    """What the scripts know of a model: an ONNX graph's metadata and shapes; names and colours."""
    said = {one.key: json.loads(one.value) for one in graph.metadata_props}
    window = [d.dim_value for d in graph.graph.input[0].type.tensor_type.shape.dim[2:]]
    structures = [
        {"label": label, "name": name, "rgb": COLORS[label]} for label, name in NAMES.items()
    ]
    return {
        **{key: said[key] for key in ("name", "version", "sha256", "licence", *_KEYS)},
        "window": window,
        "channels": len(said["labels"]),
        "structures": structures,
        "windows": [{"name": name, "hu": hu} for name, hu in texts.WINDOWS],
    }


def browser_page(onnx: bytes, model: dict[str, Any], wasm: bytes, runtime: str) -> bytes:
    """The page, as UTF-8."""
    worker = "\n".join(_source(name) for name in ("volume.js", "segment.js", "worker.js"))
    name = f"{model['name']} {model['version']}"
    values = {
        "model_name": html.escape(name),
        "footer": html.escape(f"Weights: {model['licence']} SHA-256 {model['sha256']}"),
        "model": script_json(model),
        "onnx": _packed(onnx).decode(),
        "wasm": _packed(wasm).decode(),
        "runtime": _in_element(runtime),
        "worker": _in_element(worker),
        "niivue": _packed(niivue().encode()).decode(),
        "script": _in_element(_source("page.js")),
    }
    css = part("case.css") + _source("page.css")
    return framed(_TITLE, filled(_source("page.html"), values), css, policy=_POLICY)


def _packed(data: bytes) -> bytes:
    return base64.b64encode(gzip.compress(data, 9, mtime=0))


def _source(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _in_element(script: str) -> str:
    """A script that can end no script element and begin no comment there."""
    for mark in ("</script", "<!--"):
        if mark in script.lower():
            raise ValueError(f"a script holds {mark}")
    return script


def _notices() -> str:
    """Licences of NiiVue, ONNX Runtime and what is compiled into it: ONNX Runtime's Python package
    holds its own, its npm package does not."""
    files = metadata.files("onnxruntime") or []
    wanted = ("LICENSE", "ThirdPartyNotices.txt")
    paths = [Path(str(file.locate())) for file in files if file.name in wanted]
    texts = [niivue_notices(), *(path.read_text(encoding="utf-8") for path in sorted(paths))]
    return f"\n{'-' * 70}\n".join(texts)


if __name__ == "__main__":
    sys.exit(main())
