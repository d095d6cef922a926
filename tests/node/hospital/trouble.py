"""What goes wrong around a node: a destination that is down, a full disk, hostile peers."""

from __future__ import annotations

import os
import random
import socket
import struct
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.node.hospital import dcmtk
from tests.node.hospital.ports import wait_until
from tests.node.hospital.sender import OUT_OF_RESOURCES, send, send_until_taken
from tests.node.hospital.studies import Study
from tests.node.hospital.throttle import Line
from tests.node.hospital.world import World, check_silence

KINDS_OF_GARBAGE = ("random", "endless PDU", "unknown PDU", "HTTP", "TLS", "half a request")


def destination_down(
    world: World, studies: Sequence[Study], other: dcmtk.StoreSCP, down_seconds: float
) -> dict[str, Any]:
    """Orthanc is down while studies come in, then up again; ``other`` is up all the time.

    Raises:
        AssertionError: the other one had to wait, or got anything twice; a result was lost.
    """
    world.orthanc.stop()
    began = time.monotonic()
    for study in studies:
        send_until_taken(world.node.port, study.paths)
    wait_until(
        "the other destination has all",
        lambda: len(list(other.folder.iterdir())) == len(studies),
        300,
        state=world.node.state,
    )
    time.sleep(max(0.0, down_seconds - (time.monotonic() - began)))
    assert world.node.spool()["sending"] == len(studies)
    failures = {k: v for k, v in world.node.metrics().items() if "send_failures" in k and v}
    assert any("ORTHANC" in name for name in failures), failures
    assert not any(other.aet in name for name in failures), failures
    world.orthanc.start()
    up = time.monotonic()
    world.wait_for_results(studies, 300)
    after = time.monotonic() - up
    world.check_results(studies)
    assert len(other.received()) == len(studies), "something was sent twice"
    return {"studies": len(studies), "tries_while_down": sum(failures.values()),
            "seconds_after": after}  # fmt: skip


def fill(folder: Path, leave_bytes: int) -> Path:
    """Fill a file system, all but ``leave_bytes``; returns the file that does it."""
    ballast = folder / "ballast"
    room = os.statvfs(folder)
    size = max(0, room.f_bavail * room.f_frsize - leave_bytes)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
    return ballast


def disk_full(world: World, studies: Sequence[Study], disk: Path, leave_bytes: int) -> int:
    """The spool's disk fills up; what is sent then is answered A700, and taken once there is room.

    Args:
        world: with its spool on ``disk``.
        studies: the first one is sent before.
        disk: a small file system.
        leave_bytes: what is left on it.

    Returns:
        How many instances were answered A700.

    Raises:
        AssertionError: another answer, or something acknowledged was lost.
    """
    send_until_taken(world.node.port, studies[0].paths)
    world.wait_for_results(studies[:1], 300)
    wait_until("its source is dropped", lambda: not _sources(world), 120, state=world.node.state)
    ballast = fill(disk, leave_bytes)
    refused = 0
    for study in studies[1:]:
        sent = send(world.node.port, study.paths)
        wrong = set(sent.statuses) - {0, OUT_OF_RESOURCES}
        assert not wrong, [hex(status) for status in wrong]
        refused += len(sent.statuses) - len(sent.acknowledged)
    assert refused, "the disk was full and nothing was refused"
    status, health = world.node.health()
    assert (status, "disk full" in str(health)) == (503, True), health
    assert dcmtk.echoscu(world.node.port).returncode == 0
    ballast.unlink()
    for study in studies[1:]:
        send_until_taken(world.node.port, study.paths)
    wait_until(
        "the node is well again", lambda: world.node.health()[0] == 200, 60, state=world.node.state
    )
    world.wait_for_results(studies, 400)
    world.check_results(studies)
    return refused


def _sources(world: World) -> list[Path]:
    """Instances of finished studies that are held for late ones."""
    return list((world.node.store / "done").glob("*/*.dcm"))


def garbage(kind: str, rng: random.Random) -> bytes:
    """What somebody sends who does not speak DICOM, or speaks it badly."""
    return {
        "random": rng.randbytes(10_000),
        "endless PDU": struct.pack(">BBI", 1, 0, 0xFFFFFFFF) + rng.randbytes(10_000),
        "unknown PDU": struct.pack(">BBI", 0x5A, 0, 16) + rng.randbytes(16),
        "HTTP": b"GET / HTTP/1.1\r\nHost: node\r\n\r\n",
        "TLS": bytes.fromhex("160301020001000200fc0303") + rng.randbytes(500),
        "half a request": struct.pack(">BBI", 1, 0, 200) + rng.randbytes(90),
    }[kind]


def throw(port: int, data: bytes, hold_seconds: float) -> float | None:
    """Send bytes and hold the connection; after how many seconds the node closed it, or None."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=hold_seconds) as line:
        try:
            line.sendall(data)
            while line.recv(65536):
                pass
        except TimeoutError:
            return None
        except OSError:  # reset
            pass
    return time.monotonic() - began


def half_sent(world: World, study: Study, rng: random.Random) -> int:
    """Associations of a study end at random bytes; then it is sent whole.

    Returns:
        At how many the line broke.

    Raises:
        AssertionError: half an instance was kept, or the node did not stay well.
    """
    size = sum(path.stat().st_size for path in study.paths)
    breaks = 12
    for _ in range(breaks):
        with Line(world.node.port, cut_at=rng.randrange(1, size)) as line:
            send(line.port, study.paths)
        assert world.node.health()[0] == 200
    send_until_taken(world.node.port, study.paths)
    return breaks


def silent(world: World, study: Study, timeout: float, rng: random.Random) -> list[float]:
    """Lines that fall silent somewhere in a study are closed by the node.

    Returns:
        After how many seconds each was.
    """
    closed = []
    for at in (3, 150, 400, rng.randrange(1_000, 20_000), rng.randrange(20_000, 60_000)):
        with Line(world.node.port, silent_at=at) as line:
            sender = threading.Thread(target=send, args=(line.port, study.paths), daemon=True)
            sender.start()
            wait_until(
                f"a line that is silent from byte {at} on is closed",
                lambda one=line: one.closed_by_node_after is not None,  # type: ignore[misc]
                timeout + 20,
            )
            assert line.closed_by_node_after is not None
            closed.append(line.closed_by_node_after)
    return closed


def assert_well(world: World, seconds: float) -> None:
    """The node answers, holds no associations, and has said nothing about patients."""
    assert dcmtk.echoscu(world.node.port).returncode == 0
    wait_until(
        "no associations are left",
        lambda: metric(world, "associations") == 0,
        seconds,
        state=world.node.state,
    )
    assert world.node.health()[0] == 200
    check_silence(world.node)


def metric(world: World, name: str) -> float:
    """The sum of the metric ``abdobox_node_NAME`` over its labels."""
    whole = f"abdobox_node_{name}"
    values = [v for k, v in world.node.metrics().items() if k.partition("{")[0] == whole]
    assert values, f"no metric {whole}: {sorted(world.node.metrics())}"
    return sum(values)
