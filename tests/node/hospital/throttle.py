"""A bad line between a sender and the node: slow, silent from some byte on, or cut there."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time


class Line:
    """A TCP relay on a port of its own, for as long as the ``with`` lasts.

    Args:
        port: of the node.
        bytes_per_second: at most so quick towards the node.
        cut_at: the sender's connection is closed after so many bytes.
        silent_at: nothing more goes to the node after so many bytes, but the connection stays.
    """

    def __init__(
        self,
        port: int,
        *,
        bytes_per_second: float = 1e9,
        cut_at: int | None = None,
        silent_at: int | None = None,
    ) -> None:
        self._target, self._rate = port, bytes_per_second
        self._cut_at, self._silent_at = cut_at, silent_at
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.closed_by_node_after: float | None = None

    def __enter__(self) -> Line:
        self._threads.append(threading.Thread(target=self._listen, daemon=True))
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _listen(self) -> None:
        self._listener.settimeout(0.1)
        while not self._over.is_set():
            try:
                near, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            thread = threading.Thread(target=self._relay, args=(near,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _relay(self, near: socket.socket) -> None:
        far = socket.create_connection(("127.0.0.1", self._target))
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with near, far, selectors.DefaultSelector() as ready, contextlib.suppress(OSError):
            ready.register(near, selectors.EVENT_READ)
            ready.register(far, selectors.EVENT_READ)
            passed, since = 0, time.monotonic()
            while not self._over.is_set():
                for key, _ in ready.select(0.1):
                    if key.fileobj is far:
                        data = far.recv(65536)
                        if not data:
                            self.closed_by_node_after = time.monotonic() - since
                            return
                        near.sendall(data)
                        continue
                    data = near.recv(self._portion(passed))
                    if not data:
                        return
                    far.sendall(data)
                    passed, since = passed + len(data), time.monotonic()
                    if self._cut_at is not None and passed >= self._cut_at:
                        return
                    if self._silent_at is not None and passed >= self._silent_at:
                        ready.unregister(near)
                    elif self._rate < 1e9:
                        time.sleep(len(data) / self._rate)

    def _portion(self, passed: int) -> int:
        """How many bytes may pass at once."""
        portion = max(1, int(min(65536.0, self._rate / 10)))
        for end in (self._cut_at, self._silent_at):
            if end is not None:
                portion = min(portion, max(1, end - passed))
        return portion
