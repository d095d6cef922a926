"""A thousand scans in one process: memory, open files and speed stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak import Sample, Soak, document, markdown, run, write_scans


def test_slopes_and_rates_of_a_made_up_run():
    """One case a second; memory grows by 3 bytes a case after a jump at the start."""
    samples = [Sample(float(n), n, 1000 * min(n, 5) + 3 * n, 7) for n in range(101)]
    soak = Soak(samples, 0, 0, 0)
    assert soak.slope("resident_bytes") == pytest.approx(3)
    assert soak.slope("files") == pytest.approx(0)
    assert soak.lows() == [1003, 5063, 5123, 5183, 5243]
    assert soak.throughput() == pytest.approx((60, 60))
    assert "+0.00 kB per case" in markdown(document(soak))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_scans_in_one_process(
    tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
):
    write_scans(tmp_path / "scans", 1000, (10, 20, 22), 14.0)
    soak = run(tmp_path / "scans", tmp_path / "out", tiny_model, 1500, tmp_path / "log.txt")
    figures = document(soak)
    with capsys.disabled():
        print("\n" + markdown(figures))
    assert soak.status == 0
    assert (tmp_path / "log.txt").read_text() == f"1000 done, 0 failed: {tmp_path / 'out'}\n"
    assert len(list((tmp_path / "out").iterdir())) == 1000
    assert (soak.differing, soak.strays) == (0, 0)
    assert figures["bytes_per_case"] < 10e3
    assert figures["files"][1] - figures["files"][0] <= 8  # those of the cases on their way
    assert 0.5 < figures["cases_per_minute"][1] / figures["cases_per_minute"][0] < 2
