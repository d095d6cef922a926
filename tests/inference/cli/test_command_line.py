"""The command line as a process of its own: what it imports, prints, and leaves behind."""

from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import SimpleITK as sitk

from inference import __version__
from inference.labels import NAMES
from inference.machine.threads import processors
from phantom import Phantom

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("numpy", "torch", "openvino", "SimpleITK", "safetensors", "isal", "cupy", "scipy")


def command(*words: object) -> list[str]:
    return [sys.executable, "-m", "inference", *map(str, words)]


def call(*words: object, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), cwd=ROOT, capture_output=True, text=True, check=False, timeout=100, **more
    )


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory, phantom: Phantom) -> Path:
    path = tmp_path_factory.mktemp("scan") / "a_0000.nii.gz"
    image = sitk.GetImageFromArray(phantom.image_ZYX)
    image.SetSpacing(phantom.grid.spacing[::-1])
    sitk.WriteImage(image, str(path))
    return path


def test_help():
    result = call("--help")
    assert result.returncode == 0
    assert result.stderr == ""
    for option in ("--input", "--output", "--device", "--model", "--decode", "--step",
                   "--resampler", "--skip-existing", "--report", "--quiet", "--version",
                   "--list-labels"):  # fmt: skip
        assert option in result.stdout


def test_version():
    assert call("--version").stdout == f"abdobox {__version__}\n"


def test_list_labels():
    lines = call("--list-labels").stdout.splitlines()
    assert [line.split("\t") for line in lines] == [[str(k), v] for k, v in NAMES.items()]


def modules_after(*words: object) -> tuple[int, set[str]]:
    """Exit status, and the top-level modules that a run has imported."""
    script = (
        "import json, sys\n"
        "try:\n"
        "    from inference.cli.main import main\n"
        "    status = main()\n"
        "except SystemExit as leaving:\n"
        "    status = leaving.code or 0\n"
        "names = sorted({name.partition('.')[0] for name in sys.modules})\n"
        "sys.stderr.write('\\n' + json.dumps([status, names]))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    status, names = json.loads(run.stderr.splitlines()[-1])
    return status, set(names)


@pytest.mark.parametrize(
    "words", [("--help",), ("--version",), ("--list-labels",), ("--info",), ("-i", "a")]
)
def test_answers_import_nothing_heavy(words: tuple[str, ...]):
    status, modules = modules_after(*words)
    assert status == (2 if words[0] == "-i" else 0)
    assert modules.isdisjoint(HEAVY)


def test_the_cpu_route_never_imports_torch(scan: Path, tiny_model: Path, tmp_path: Path):
    options = ("--device", "cpu", "--model", tiny_model, "--report", tmp_path / "report.json")
    status, modules = modules_after("-i", scan, "-o", tmp_path, *options)
    assert status == 0
    assert (tmp_path / "a.nii.gz").is_file()
    assert "openvino" in modules
    assert modules.isdisjoint({"torch", "cupy", "scipy", "nibabel"})
    assert modules.isdisjoint({"training", "evaluation", "benchmarks", "nnunetv2", "monai"})
    # Nor SimpleITK, which takes a while to load and is for other formats than NIfTI.
    assert "SimpleITK" not in modules


@pytest.mark.parametrize(("said", "threads"), [(None, 1), ("2", 2)])
def test_numpys_other_threads_do_not_wait_busily(said: str | None, threads: int):
    code = (
        "import sys, inference.__main__\n"
        "assert 'numpy' not in sys.modules\n"
        "import numpy, os\n"
        "print(len(os.listdir('/proc/self/task')))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    if said is not None:
        environment["OPENBLAS_NUM_THREADS"] = said
    words = [sys.executable, "-c", code]
    run = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    # OpenBLAS takes no more threads than there are processors.
    assert int(run.stdout) == min(threads, processors())


def test_help_is_quick():
    """0.15 s on a machine of one's own; measured against an empty Python on a busy one."""

    def quickest(*words: str) -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    assert quickest("-m", "inference", "--help") < max(0.15, 8 * quickest("-c", "pass"))


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ((), "-i INPUT and -o OUTPUT are needed"),
        (("-i", "pyproject.toml"), "-o OUTPUT"),
        (("-o", "out"), "-i INPUT"),
        (("-i", "missing", "-o", "out"), "missing: there is no such file or folder"),
        (("-i", ".", "-o", "out", "--step", "0"), "outside (0, 1]"),
        (("-i", ".", "-o", "out", "--step", "1.5"), "outside (0, 1]"),
        (("-i", ".", "-o", "out", "--step", "nan"), "outside (0, 1]"),
        (("-i", ".", "-o", "out", "--step", "half"), "no number"),
        (("-i", ".", "-o", "out", "--decode", "cubic"), "invalid choice"),
        (("-i", ".", "-o", "out", "--resampler", "scipy"), "invalid choice"),
        (("-i", ".", "-o", "out", "--resampler", "cupy", "--device", "cpu"), "CUDA device only"),
        (("-i", ".", "-o", "out", "--model", "nonsense"), "use one of: small"),
        (("-i", ".", "-o", "out", "--model", "./gone"), "model ./gone: is not there"),
        (("-i", ".", "-o", "out", "--device", "gpu"), "'gpu' is unknown"),
        (("-i", ".", "-o", "."), "is the input folder, too"),
        (("-i", "", "-o", "out"), "argument -i/--input: the name is empty"),
        (("-i", ".", "-o", ""), "argument -o/--output: the name is empty"),
        (("-i", ".", "-o", "out", "--report", "scan.nii.gz"), "'scan.nii.gz' is no name for a"),
        (("-i", ".", "-o", "out", "--report", "report"), "end it in .json"),
        (("-i", ".", "-o", "out", "--report", ""), "end it in .json"),
        (("-i", ".", "-o", "out", "--report", "gone/a.json"), "its folder is not there"),
        (("-i", ".", "-o", "out", "--report", "out/deeper/a.json"), "its folder is not there"),
        (("-i", ".", "-o", "out", "--unknown"), "unrecognized"),
        (("-i", ".", "-o", "out", "extra"), "unrecognized"),
    ],
)
def test_wrong_arguments(words: tuple[str, ...], cause: str, tmp_path: Path, monkeypatch, capfd):
    from inference.cli.main import main

    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as leaving:
        main(list(words))
    assert leaving.value.code == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert cause in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/dev/null")])
def test_a_report_replaces_nothing_but_a_file(
    tmp_path: Path, make: Callable[[Path], None], capfd: pytest.CaptureFixture[str]
):
    from inference.cli.main import main

    report = tmp_path / "report.json"
    make(report)
    before = report.lstat()
    with pytest.raises(SystemExit, match="2"):
        main(["-i", str(ROOT), "-o", str(tmp_path / "out"), "--report", str(report)])
    assert f"{str(report)!r} is there already, and is no file" in capfd.readouterr().err
    assert report.lstat() == before


def test_a_report_in_a_folder_that_may_not_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    from inference.cli.main import main

    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path)  # root may anything
    with pytest.raises(SystemExit, match="2"):
        main(["-i", str(ROOT), "-o", str(tmp_path / "out"), "--report", str(tmp_path / "a.json")])
    assert "may not be written to" in capfd.readouterr().err


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("word", ["--list-labels", "--info", "--help"])
def test_output_that_nobody_takes(word: str, unbuffered: str):
    """A reader that has left knows; of a full disk there is one line."""
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    ours, theirs = os.pipe()
    os.close(ours)
    said = {}
    with open(theirs, "wb") as pipe, open("/dev/full", "wb") as full:
        for name, stream in (("pipe", pipe), ("disk", full)):
            run = subprocess.run(
                command(word), cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.PIPE,
                check=False, text=True, timeout=100,
            )  # fmt: skip
            said[name] = (run.returncode, run.stderr)
    line = "error: standard output: cannot be written (No space left on device); "
    if word == "--help" and unbuffered:  # argparse keeps to itself what it cannot print
        assert said == {"pipe": (0, ""), "disk": (0, "")}
    else:
        assert said["pipe"] == (120, "")
        assert said["disk"] == (120, f"{line}check where it leads\n")


@pytest.mark.parametrize("device", ["cuda", "cuda:99"])
def test_devices_that_cannot_be_used(
    scan: Path, tiny_model: Path, tmp_path: Path, device: str, capfd: pytest.CaptureFixture[str]
):
    from inference.cli.main import main

    words = ["-i", scan, "-o", tmp_path / "out", "--model", tiny_model, "--device", device]
    assert main([str(word) for word in words]) == 1
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"error: --device {device}: ")
    assert not (tmp_path / "out").exists()


def test_progress_on_a_real_terminal(scan: Path, tiny_model: Path, tmp_path: Path):
    ours, theirs = pty.openpty()
    words = command("-i", scan, "-o", tmp_path, "--device", "cpu", "--model", tiny_model)
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:
        pass  # Linux's way to say that the other end was closed
    os.close(ours)
    assert process.wait(60) == 0
    assert process.stdout is not None
    assert process.stdout.read() == b""
    process.stdout.close()
    text = shown.decode()
    assert "\r[1/1] a: reading, 0 s" in text
    assert "[1/1] a: network" in text
    assert "1 done, 0 failed" in text


def test_predict_sh_runs_the_challenges_folders(tmp_path: Path, scan: Path, tiny_model: Path):
    """As the organisers call it: from anywhere, with folders named inputs and outputs beside it."""
    (tmp_path / "inputs").mkdir()
    os.link(scan, tmp_path / "inputs" / "a_0000.nii.gz")
    script = tmp_path / "predict.sh"
    script.write_text((ROOT / "predict.sh").read_text())
    (tmp_path / "inference").symlink_to(ROOT / "inference")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    words = ["/bin/sh", str(script), "--device", "cpu", "--model", str(tiny_model), "--quiet"]
    result = subprocess.run(
        words, cwd="/", env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / "outputs" / "a.nii.gz").is_file()


def test_the_exit_status_survives_a_closed_output(scan: Path, tiny_model: Path, tmp_path: Path):
    """The process leaves without Python's own clearing up, which would have flushed its streams."""
    words = ("-i", scan, "-o", tmp_path / "out", "--device", "cpu", "--model", tiny_model)
    command = [sys.executable, "-m", "inference", *map(str, words)]
    line = f"{shlex.join(command)} >&- 2>&-"
    assert subprocess.run(["sh", "-c", line], cwd=ROOT, check=False, timeout=100).returncode == 0
    assert len([*(tmp_path / "out").iterdir()]) == 1
    assert "liver" in call("--list-labels").stdout
