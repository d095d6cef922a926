"""Debian's Chromium, driven by Playwright: pages are opened from file://, without network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
PATIENCE_MS = 180_000  # WebGL is computed by the processor here
# Pixels of the viewer's canvas that have a colour.
PIXELS = """(rgb) => {
  const { nv } = window.abdobox;
  nv.drawScene();
  const copy = document.createElement('canvas');
  [copy.width, copy.height] = [nv.canvas.width, nv.canvas.height];
  const context = copy.getContext('2d');
  context.drawImage(nv.canvas, 0, 0);
  const data = context.getImageData(0, 0, copy.width, copy.height).data;
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    count += rgb.every((value, c) => Math.abs(data[i + c] - value) <= 6);
  }
  return count;
}"""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; skips where there is none."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no Chromium (apt-get install chromium)")
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page, and what it asked for and said since."""

    page: Any
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, browser: Any, file: Path, width: int = 1200, height: int = 800) -> Opened:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(PATIENCE_MS)
        opened = cls(page)
        local = ("data:", "blob:")
        page.on("request", lambda r: r.url.startswith(local) or opened.requests.append(r.url))
        page.on("console", lambda m: m.type == "error" and opened.errors.append(m.text))
        page.on("pageerror", lambda error: opened.errors.append(str(error)))
        page.goto(file.as_uri())
        return opened

    def ready(self) -> Opened:
        """Once the page of a run says that it shows what it holds."""
        self.page.wait_for_selector("body[data-ready]")
        assert self.page.evaluate("document.body.dataset.ready") == "yes"
        return self

    def quiet(self, file: Path) -> None:
        """Nothing was asked for but the page itself, and no error was met."""
        assert self.requests == [file.as_uri()]
        assert self.errors == []
        self.page.close()
