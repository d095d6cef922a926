"""What is seen by HTTP, and in the logs."""

from __future__ import annotations

import io
import json
import re
import socket
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from socketserver import BaseServer

import pytest

from node.cli import run
from node.log import Log
from node.metrics import Metrics
from node.node import Node
from node.nodes import DeposedError
from node.receiver import Receiver
from node.sender import Sender
from node.settings import HttpSettings, SpoolSettings
from node.watch import Watch
from tests.node.launch import WORKER
from tests.node.listening import local
from tests.node.pacs import Archive, send
from tests.node.running import RunningNode, until
from tests.node.test_sending import free_port
from tests.node.test_states import slices

# pynetdicom's own server leaves sockets open whose peer has gone.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
Start = Callable[..., RunningNode]
SAMPLE = re.compile(r'[a-z_]+(\{[a-z_]+="(\\.|[^"\\])*"\})? -?[0-9.e+-]+')


def values(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(SAMPLE.fullmatch(line) for line in lines)
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


@pytest.mark.parametrize("least_free", [0, 2000000])
def test_health_metrics_and_page(start: Start, archive: Archive, tmp_path: Path, least_free: int):
    free = tmp_path / "free"
    free.write_text("5000000")
    node = start(
        HTTP_PORT=free_port(), SPOOL_MIN_FREE_BYTES=least_free, seams={"NODE_TEST_FREE": str(free)}
    )
    send(node.port, slices())
    node.wait("study_done")
    status, text = node.http("/health")
    assert (status, json.loads(text)["status"]) == (200, "ok")
    found = values(node.http("/metrics")[1])
    assert found["abdobox_node_instances_received_total"] == 3
    assert found['abdobox_node_studies_total{state="done"}'] == 1
    assert found['abdobox_node_studies{state="done"}'] == 1
    assert found['abdobox_node_results_sent_total{destination="ARCHIVE"}'] == 1
    assert found["abdobox_node_work_seconds_count"] == 1
    assert found["abdobox_node_spool_free_bytes"] == 5000000
    status, page = node.http("/")
    assert status == 200
    assert "State: well" in page
    assert "Doe" not in page + node.text
    assert node.http("/etc/passwd")[0] == 404
    free.write_text("500")
    status, text = node.http("/health")
    assert status == 503
    assert "disk full" in json.loads(text)["reason"]


class Lost:
    """A node whose spool is gone."""

    metrics = Metrics()

    def trouble(self) -> list[str]:
        return ["the spool cannot be reached"]

    def gauges(self) -> dict[str, dict[str, float] | float]:
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("bind", ["127.0.0.1", "::1"])
def test_a_spool_that_is_gone_is_an_answer(bind: str, capfd: pytest.CaptureFixture):
    port = free_port()
    watch = Watch(HttpSettings(bind=bind, port=port), Lost())
    try:
        watch.start()
    except OSError:
        pytest.skip(f"nobody can listen on {bind} here")
    host = f"[{bind}]" if ":" in bind else bind
    try:
        for path in ("health", "metrics", ""):
            with pytest.raises(urllib.error.HTTPError) as error:
                urllib.request.urlopen(f"http://{host}:{port}/{path}", timeout=20)
            assert error.value.code == 503
            error.value.close()
    finally:
        watch.stop()
    assert capfd.readouterr().err == ""


@pytest.mark.filterwarnings("ignore:Invalid value")
def test_what_libraries_warn_of_is_no_line_of_the_log(start: Start, archive: Archive):
    """A UID with a leading zero, of which pydicom warns."""
    node = start()
    datasets = slices()
    for ds in datasets:
        ds.StudyInstanceUID = "1.2.02"
    assert send(node.port, datasets) == [0, 0, 0]
    node.wait("study_done")
    assert [event for event in node.events if "text" in event] == []


def test_labels_are_escaped():
    metrics = Metrics()
    metrics.send_failures.add(of='A"B\\')
    assert 'destination="A\\"B\\\\"' in metrics.text({})
    values(metrics.text({"studies": {"done": 1.0}, "associations": 2.0}))


def test_a_port_that_is_taken_is_one_line(start: Start):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        node = start(PORT=other.getsockname()[1])
        assert node.ended() == 1
    assert "Address already in use" in node.text
    assert "Traceback" not in node.text
    assert list((node.store / "nodes").iterdir()) == []


def test_a_node_that_others_take_for_dead_ends(start: Start):
    node = start()
    node.wait("started")
    for path in (node.store / "nodes").iterdir():
        path.unlink()
    until(lambda: not node.running())
    assert node.ended() == 1
    assert node.wait("internal_error")["reason"]["type"] == "DeposedError"


@pytest.mark.parametrize("error", [ValueError("Doe^Jane"), DeposedError()])
def test_an_error_of_its_own_ends_the_node_and_shows_until_then(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
):
    """In a thread that nobody waits for: the process ends, so that it is started again."""
    fails, ending, go_on = threading.Event(), threading.Event(), threading.Event()
    lines, port, statuses = io.StringIO(), free_port(), []

    def step(sender: Sender, stop: threading.Event) -> None:
        if fails.is_set():
            raise error

    def slowly(receiver: Receiver) -> None:
        ending.set()
        assert go_on.wait(60)
        stop(receiver)

    stop = Receiver.stop
    monkeypatch.setattr(Sender, "step", step)
    monkeypatch.setattr(Receiver, "stop", slowly)
    for name in ("signal.signal", "os.umask"):  # which are of the whole process
        monkeypatch.setattr(f"node.cli.{name}", lambda *args: None)
    monkeypatch.setattr("node.cli.Log", lambda: Log(lines))
    monkeypatch.setattr("node.cli._hush", lambda *args: None)
    settings = local(
        tmp_path,
        send=("ARCHIVE@127.0.0.1:9",),
        spool=SpoolSettings(min_free_bytes=0),
        http=HttpSettings(port=port),
    )
    running = threading.Thread(
        target=lambda: statuses.append(run(settings, command=[sys.executable, WORKER]))
    )
    running.start()
    try:
        until(lambda: health(port)[0] == 200)
        fails.set()
        assert ending.wait(60)
        status, reason = health(port)
        assert status == 503
        assert "internal error" in reason
    finally:
        fails.set()
        go_on.set()
        running.join(60)
    assert statuses == [1]
    assert "internal_error" in lines.getvalue()
    assert "Doe" not in lines.getvalue()


def health(port: int) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""


@pytest.mark.parametrize("part", ["_receiver", "_watch"])
def test_who_listens_no_more_ends_the_node(tmp_path: Path, part: str):
    lines = io.StringIO()
    settings = local(tmp_path, http=HttpSettings(port=free_port()))
    node = Node(settings, Log(lines), command=[sys.executable, WORKER])
    node.start()
    try:
        BaseServer.shutdown(getattr(node, part)._server)
        node.wait(threading.Event())
        assert node.failed
        assert "it has ended" in lines.getvalue()
    finally:
        node.stop()
