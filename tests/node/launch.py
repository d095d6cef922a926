"""Nodes in processes of their own, forked from one that has imported everything, on request.

A request is a JSON line ``{"start": {variables}, "log": file}``, answered by a process id, or
``{"ended": id}``, answered by its exit status or null. The node has a fake worker, and seams:

``NODE_TEST_FREE``: a file that holds how many bytes the disk has left. ``NODE_TEST_KILL_AT``: the
process kills itself (SIGKILL) just before its n-th change of a state on the disk, counted by
Python's audit events; ``NODE_TEST_COUNT``: a file that is given a line for each of them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from node.checks import problems
from node.cli import run
from node.durable import free_bytes
from node.node import Node
from node.settings_sources import read_settings

assert Node  # imported here, once for all
CHANGES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.link", "shutil.rmtree"}
STATES = ("receiving", "waiting", "working", "sending", "done", "failed")
WORKER = str(Path(__file__).with_name("fake_worker.py"))


def kill_at(number: int, count: Path | None, store: str) -> None:
    seen = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        appends = event == "open" and isinstance(args[1], str) and "a" in args[1]
        if not (event in CHANGES or appends):
            return
        paths = [str(a) for a in args if isinstance(a, str | os.PathLike)]
        if any(f"{store}/{state}/" in path for path in paths for state in STATES):
            seen += 1
            if count is not None:
                with count.open("ab") as file:  # an event, too, and of another folder
                    file.write(f"{event} {' '.join(paths)}\n".replace(store, "").encode())
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def node() -> int:
    read = read_settings({}, os.environ, None)
    assert not read.faults and not problems(read.settings), (read.faults, problems(read.settings))
    free = free_bytes
    if name := os.environ.get("NODE_TEST_FREE"):
        free = lambda folder: int(Path(name).read_text())  # noqa: E731
    count = os.environ.get("NODE_TEST_COUNT")
    if count or "NODE_TEST_KILL_AT" in os.environ:
        number = int(os.environ.get("NODE_TEST_KILL_AT", "0"))
        kill_at(number, Path(count) if count else None, read.settings.store)
    return run(read.settings, command=[sys.executable, WORKER], free=free)


def start(variables: dict[str, str], log: str) -> int:
    if pid := os.fork():
        return pid
    status = 70
    try:
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 0)
        os.dup2(2, 1)
        os.environ.update(variables)
        status = node()
    finally:
        os._exit(status)


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            answer: int | None = start(request["start"], request["log"])
        else:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
