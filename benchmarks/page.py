"""What a case's page costs: seconds and bytes to make, and seconds until Chromium shows it.

    python -m benchmarks.page SCAN_0000.nii.gz [--runs 3] [--model random]

Whole processes of ``python -m inference`` without and with ``--html`` in turn, on an idle machine;
then the page is opened from file://, without network, until it says that it shows what it holds
(WebGL by the processor). Needs the viewer (``make page-assets``), Chromium and Playwright.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.environment import describe, line
from benchmarks.models import HELP, chosen

FLAGS = ["--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader",
         "--enable-unsafe-swiftshader"]  # fmt: skip


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page")
    parser.add_argument("scan", type=Path)
    parser.add_argument("--model", help=HELP)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    model = chosen(options.model)
    words = ["-m", "inference", "-i", str(options.scan), "--model", str(model), "--quiet"]
    with TemporaryDirectory() as folder:
        name = options.scan.name.removesuffix(".nii.gz").removesuffix("_0000")
        labels, page = Path(folder) / f"{name}.nii.gz", Path(folder) / f"{name}.html"
        plain, with_page, opened = [], [], []
        for _ in range(options.runs):
            plain.append(_seconds([*words, "-o", str(labels)]))
            with_page.append(_seconds([*words, "-o", str(labels), "--html"]))
        for _ in range(options.runs):
            opened.append(seconds_to_open(page))
        size = page.stat().st_size
    print(f"{line(describe())}; {name}, model {model.name}, medians of {options.runs} runs\n")
    print(
        "| labels alone, s | with the page, s | beyond | MB | opened in, s |\n|---|---|---|---|---|"
    )
    first, second = statistics.median(plain), statistics.median(with_page)
    print(
        f"| {first:.2f} | {second:.2f} | {second - first:+.2f} | {size / 1e6:.1f} | "
        f"{statistics.median(opened):.1f} |"
    )


def seconds_to_open(page: Path) -> float:
    """From asking a new tab for the page until it says that it is ready."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        tab = browser.new_page(viewport={"width": 1200, "height": 800})
        begun = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("body[data-ready='yes']", timeout=180_000)
        taken = time.perf_counter() - begun
        browser.close()
    return taken


def _seconds(words: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
