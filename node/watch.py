"""/health, /metrics and a status page, by HTTP on loopback: numbers and states, no patients."""

from __future__ import annotations

import html
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from .box import __version__
from .metrics import Metrics
from .settings import HttpSettings

_TIMEOUT_S = 10.0


class Watched(Protocol):
    """What is asked about."""

    metrics: Metrics

    def trouble(self) -> list[str]:
        """Why it is not well."""

    def gauges(self) -> dict[str, dict[str, float] | float]:
        """How things stand."""


class Watch:
    """The HTTP server; port 0 in the settings: none."""

    def __init__(self, settings: HttpSettings, watched: Watched) -> None:
        self._settings, self._watched = settings, watched
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Listen. Returns the port, 0 where there is none. Raises OSError."""
        if not self._settings.port:
            return 0
        handler = type("Handler", (_Handler,), {"watched": self._watched})
        self._server = _Server((self._settings.bind, self._settings.port), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()
        return int(self._server.server_address[1])

    @property
    def listening(self) -> bool:
        """Whether whoever asks is answered, as far as that is wanted."""
        return self._thread is None or self._thread.is_alive()

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: Any) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is nobody's trouble, and a traceback is no line of the log."""


class _Handler(BaseHTTPRequestHandler):
    timeout = _TIMEOUT_S
    server_version, sys_version = "abdobox", ""
    watched: Watched  # the node, in the class that is made for it

    def do_GET(self) -> None:
        """Every answer is made anew."""
        try:
            status, kind, text = _answer(self.path.partition("?")[0], self.watched)
        except OSError as error:
            status, kind, text = (
                503,
                "text/plain",
                f"the spool cannot be reached ({error.strerror})\n",
            )
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """Who looks is not logged."""


def _answer(path: str, watched: Watched) -> tuple[int, str, str]:
    if path == "/health":
        trouble = watched.trouble()
        document = {"status": "failing" if trouble else "ok", "version": __version__}
        if trouble:
            document["reason"] = "; ".join(trouble)
        return (503 if trouble else 200), "application/json", json.dumps(document) + "\n"
    if path == "/metrics":
        return 200, "text/plain; version=0.0.4", watched.metrics.text(watched.gauges())
    if path == "/":
        return 200, "text/html; charset=utf-8", _page(watched)
    return 404, "text/plain", "there are /, /health and /metrics\n"


def _page(watched: Watched) -> str:
    trouble = watched.trouble()
    state = html.escape("; ".join(trouble)) if trouble else "well"
    rows = []
    for name, value in watched.gauges().items():
        values = {"": value} if isinstance(value, float) else value
        rows += [(f"{name} {key}".strip(), f"{number:,.0f}") for key, number in values.items()]
    cells = "".join(
        f"<tr><th scope=row>{html.escape(name.replace('_', ' '))}<td>{number}"
        for name, number in rows
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=10>"
        "<title>abdobox node</title><style>body{font:1rem sans-serif;margin:2rem}"
        "th{text-align:left;font-weight:normal;padding-right:2rem}td{text-align:right}</style>"
        f"<h1>abdobox node {__version__}</h1><p>State: {state}<table>{cells}</table>"
        "<p><a href=/health>health</a> <a href=/metrics>metrics</a>\n"
    )
