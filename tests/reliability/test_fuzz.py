"""Damaged headers by the hundred thousand: a sound volume or one clear line, soon, in no memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.errors import ScanError
from inference.scan.volume import read_volume, write_labels
from tests.inference.memory import resident_growth
from tests.inference.nifti_files import nifti_bytes
from tests.reliability.conftest import ROOT
from tests.reliability.mutations import VOXELS, mutant
from tests.reliability.soundness import assert_sound

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

LIMIT_BYTES = 64 << 20
# A header may rightly announce 2 GiB that are not there; finding out must not take long. Seconds of
# processor time, since the machine may be busy.
LIMIT_S = 1.0


def read_mutants(folder: Path, numbers: range) -> tuple[int, float]:
    """How many were accepted, and the longest time that one took."""
    accepted, longest = 0, 0.0
    for number in numbers:
        file = mutant(number)
        path = folder / f"m{file.suffix}"
        path.write_bytes(file.data)
        start = time.thread_time()
        try:
            volume = read_volume(path)
        except ScanError as error:
            assert str(error).isprintable(), number
            assert error.remedy, number
        except Exception as error:
            raise AssertionError(f"mutant({number}) raised {error!r}") from error
        else:
            accepted += 1
            assert_sound(volume)
        longest = max(longest, time.thread_time() - start)
    return accepted, longest


@pytest.fixture
def quick_folder() -> Iterator[Path]:
    """A folder in memory, where there is such a place."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


@pytest.mark.parametrize(
    "count", [1000, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])]
)
def test_mutated_headers(quick_folder: Path, count: int, capsys: pytest.CaptureFixture[str]):
    read_mutants(quick_folder, range(20))  # imports and caches are not the headers' memory
    with resident_growth() as grown:
        accepted, longest = read_mutants(quick_folder, range(count))
    with capsys.disabled():
        if count > 1000:
            print(f"\n{count} mutants: {accepted} accepted, {count - accepted} refused, longest "
                  f"{longest:.3f} s, memory grew by {grown() / 1e6:.0f} MB")  # fmt: skip
    assert longest < LIMIT_S
    assert grown() < LIMIT_BYTES
    assert count * 0.05 < accepted < count * 0.95, "they try only one side"


@pytest.mark.parametrize(
    "count", [300, pytest.param(20_000, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])]
)
def test_mutated_text_headers(
    quick_folder: Path, count: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """NRRD and MetaImage: nothing dies, and what comes of a file depends on the file alone.

    Each is read twice, and all once more by a process whose fresh memory holds something else.
    """
    said = []
    for filling in ("85", "170"):
        words = [sys.executable, "-W", "error::RuntimeWarning", "-m",
                 "tests.reliability.text_mutants", str(quick_folder), str(count)]  # fmt: skip
        result = subprocess.run(
            words, cwd=ROOT, env={**os.environ, "MALLOC_PERTURB_": filling},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (result.returncode, result.stderr) == (0, ""), result.stderr[-3000:]
        said.append(result.stdout.split())
    (accepted, longest, digest), (_, _, again) = said
    with capsys.disabled():
        if count > 300:
            print(f"\n{count} text headers: {accepted} accepted, longest {longest} s")
    assert digest == again
    assert float(longest) < LIMIT_S
    assert count * 0.05 < int(accepted) < count * 0.95, "they try only one side"


numbers = st.one_of(
    st.floats(width=32), st.floats(-2, 2, width=32), st.sampled_from((0.0, 1.0, -1.0, 0.70710677))
)
codes = st.sampled_from((0, 1, 2, 4, 5, -1))


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.tuples(codes, codes),
    st.tuples(*[numbers] * 3),
    st.tuples(*[numbers] * 12),
    st.tuples(st.sampled_from((1.0, -1.0, 0.0)), *[st.floats(0.00390625, 64, width=32)] * 3),
    st.sampled_from((0, 1, 2, 3)),
)
def test_any_geometry_is_sound_or_refused_and_survives_writing(
    tmp_path: Path, codes: tuple, quatern: tuple, srow: tuple, pixdim: tuple, unit: int
):
    data = nifti_bytes(
        VOXELS, qform_code=codes[0], sform_code=codes[1], quatern=quatern, srow=srow,
        pixdim=(*pixdim, 1.0, 1.0, 1.0, 1.0), xyzt_units=unit,
    )  # fmt: skip
    path = tmp_path / "a.nii"
    path.write_bytes(data)
    try:
        volume = read_volume(path)
    except ScanError as error:
        assert str(error).isprintable()
        return
    assert_sound(volume)
    labels = (np.arange(VOXELS.size) % 15).reshape(VOXELS.shape).astype(np.uint8)
    write_labels(tmp_path / "b.nii.gz", labels, volume.header)
    again = read_volume(tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(again.voxels_ZYX, labels)
    assert again.grid == volume.grid


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("target", "runs", "longest_bytes"), [("reading", 60_000, 2000), ("dicom", 20_000, 8000)]
)
def test_coverage_guided(
    tmp_path: Path, quick_folder: Path, target: str, runs: int, longest_bytes: int
):
    """A fixed number of runs, since a fixed time would find other things on another machine."""
    pytest.importorskip("atheris", reason="requirements-fuzz.txt has no wheel for this Python")
    words = [
        *(sys.executable, "-m", f"tests.reliability.fuzz_{target}", str(tmp_path)),
        *("-seed=1", f"-runs={runs}", f"-max_len={longest_bytes}"),
        *("-rss_limit_mb=1024", "-timeout=5"),
    ]
    environment = {**os.environ, "TMPDIR": str(quick_folder)}
    result = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"Done {runs} runs" in result.stderr
