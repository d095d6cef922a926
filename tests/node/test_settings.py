"""Settings: their sources, and that every fault is said at once, where it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from node.checks import problems
from node.cli import main
from node.settings import Settings
from node.settings_sources import read_settings
from tests.node.running import ROOT


def test_command_line_before_environment_before_file_before_default(tmp_path: Path):
    file = tmp_path / "node.toml"
    file.write_text('aet = "FILE"\nport = 1\nbind = "1.1.1.1"\n[study]\nquiet_seconds = 3\n')
    environment = {"ABDOBOX_NODE_AET": "ENV", "ABDOBOX_NODE_PORT": "2", "HOME": "/"}
    read = read_settings({"aet": "LINE"}, environment, file)
    assert read.faults == []
    settings = read.settings
    assert (settings.aet, settings.port, settings.bind) == ("LINE", 2, "1.1.1.1")
    assert settings.study.quiet_seconds == 3.0
    assert settings.work.tries == Settings().work.tries


def test_environment_says_everything_and_names_the_file(tmp_path: Path):
    file = tmp_path / "node.toml"
    file.write_text('[http]\nbind = "::1"\n')
    environment = {
        "ABDOBOX_NODE_CONFIG": str(file),
        "ABDOBOX_NODE_ALLOW": "A@10.0.0.1, B@10.0.0.0/8",
        "ABDOBOX_NODE_WORK_FORMATS": "dicom-seg,rtstruct",
        "ABDOBOX_NODE_STUDY_ON_RELEASE": "true",
        "ABDOBOX_NODE_SPOOL_KEEP_DAYS": "0.5",
    }
    read = read_settings({}, environment, None)
    assert read.faults == []
    assert read.settings.allow == ("A@10.0.0.1", "B@10.0.0.0/8")
    assert read.settings.work.formats == ("dicom-seg", "rtstruct")
    assert read.settings.study.on_release is True
    assert read.settings.spool.keep_days == 0.5
    assert read.settings.http.bind == "::1"


FAULTY = """
port = "x"
aet = "A\\\\B"
unknown = 1
study = 3
send = ["NOBODY"]
[work]
formats = ["nifti"]
html = "yes"
tries = 0
[associations]
maximum = 1
"""


def test_every_fault_is_a_line_that_names_its_place(tmp_path: Path, capsys):
    file = tmp_path / "node.toml"
    file.write_text(FAULTY)
    assert main(["--config", str(file), "--http-port", "99999"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert all(line.startswith("error: ") for line in said)
    for words in (
        f"{file}: port: 'x' is not a whole number",
        f"{file}: aet: 'A\\\\B' an AE title is ASCII without backslashes",
        f"{file}: unknown: is no setting",
        f"{file}: [study]: is a section",
        f"{file}: send: 'NOBODY' is not AET@",
        f"{file}: work.formats: 'nifti' is none of dicom-seg, rtstruct",
        f"{file}: work.html: 'yes' is not true or false",
        f"{file}: work.tries: 0 is not at least 1",
        f"{file}: associations.maximum: is no setting",
        "--http-port: 99999 is not between 0 and 65535",
        "allow: nobody may send",
        "store: there is no folder",
    ):
        assert sum(words in line for line in said) == 1, (words, said)
    assert len(said) == 12


@pytest.mark.parametrize(
    ("contents", "words"),
    [(None, "cannot be read"), ("a = ", "is no TOML"), ("\xff", "is no TOML")],
)
def test_a_file_that_is_none(tmp_path: Path, contents: str | None, words: str):
    file = tmp_path / "node.toml"
    if contents is not None:
        file.write_bytes(contents.encode("latin-1"))
    (line,) = read_settings({}, {}, file).faults
    assert words in line
    assert str(file) in line


def test_an_unknown_variable_is_a_fault():
    (line,) = read_settings({}, {"ABDOBOX_NODE_PROT": "1"}, None).faults
    assert line.startswith("ABDOBOX_NODE_PROT: is no setting")


def checked(tmp_path: Path, **said: object) -> list[str]:
    usual = {"store": str(tmp_path), "allow": ("A@127.0.0.1",)}
    return problems(read_settings({**usual, **said}, {}, None).settings)


def test_what_does_not_go_together(tmp_path: Path):
    assert checked(tmp_path) == []
    (line,) = checked(tmp_path, store=str(tmp_path / "missing"))
    assert line.endswith("is no folder; make it, or mount it")
    (line,) = checked(tmp_path, **{"spool.min_free_bytes": 1 << 60})
    assert line.startswith("spool.min_free_bytes: the whole disk")
    (line,) = checked(tmp_path, send=("X@a:1", "X@b:1"))
    assert "X is named twice" in line
    (line,) = checked(tmp_path, **{"work.model": "nobody"})
    assert line.startswith("work.model: ")
    (line,) = checked(tmp_path, **{"tls.ca": "x"})
    assert "certificate and key belong together" in line
    lines = checked(tmp_path, **{"tls.certificate": "/no/c.pem", "tls.key": "/no/k.pem"})
    assert lines == [
        "tls.certificate: /no/c.pem: is no file; check the path",
        "tls.key: /no/k.pem: is no file; check the path",
    ]
    (tmp_path / "c.pem").write_text("x")
    pem = str(tmp_path / "c.pem")
    (line,) = checked(tmp_path, **{"tls.certificate": pem, "tls.key": pem})
    assert "cannot be used" in line


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("allow", ["A@10.0.0.300"], "is no address or network"),
        ("allow", ["A@fe80::x"], "is no address or network"),
        ("allow", ["A@10.0.0.0/99"], "is no address or network"),
        ("stow.url", "http://", "is no URL"),
        ("stow.url", "https://pacs:port/x", "is no URL"),
        ("stow.url", "ftp://pacs", "is no URL"),
        ("study.quiet_seconds", float("inf"), "finite"),
        ("associations.timeout_seconds", 1e12, "is not between 1 and 86400"),
    ],
)
def test_what_can_never_work_is_told_at_the_start(key: str, value: object, words: str):
    (line,) = read_settings({key: value}, {}, None).faults
    assert words in line


def test_usual_peers_and_addresses_are_sound():
    said = {
        "allow": ["A@10.0.0.3", "B@::1", "C@fe80::/64", "D@pacs.hospital", "E@10.0.0.0/8", "F@a1"],
        "stow.url": "https://pacs.hospital:8443/dicom-web",
    }
    assert read_settings(said, {}, None).faults == []


def test_settings_are_read_without_any_library_of_dicom():
    code = "import node.cli, sys; print(*{n.partition('.')[0] for n in sys.modules})"
    words = [sys.executable, "-c", code]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(run.stdout.split()).isdisjoint({"pynetdicom", "pydicom", "numpy", "openvino"})


def test_version_and_help_need_no_network_library(capsys):
    for words in (["--version"], ["--help"]):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 0
    assert "abdobox 0." in capsys.readouterr().out
