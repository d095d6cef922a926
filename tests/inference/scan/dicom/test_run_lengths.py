"""RLE Lossless of label maps against two decoders."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders import RLELosslessDecoder

from inference.scan.dicom.run_lengths import rle_frame

FRAMES = arrays.arrays(
    np.uint8,
    st.tuples(st.integers(1, 6), st.sampled_from([1, 2, 3, 127, 128, 129, 256, 257, 300])),
    elements=st.sampled_from([0, 0, 0, 1, 14, 255]),
)


@pytest.mark.parametrize("plugin", ["pydicom", "pylibjpeg"])
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # of a busy machine
@given(frame=FRAMES)
@example(frame=np.zeros((2, 512), np.uint8))
def test_decoders_give_the_frame_back(plugin: str, frame: np.ndarray) -> None:
    decoded, _ = RLELosslessDecoder.as_array(
        encapsulate([rle_frame(frame)]),
        decoding_plugin=plugin,
        rows=frame.shape[0],
        columns=frame.shape[1],
        number_of_frames=1,
        samples_per_pixel=1,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=8,
        bits_stored=8,
        pixel_representation=0,
        pixel_keyword="PixelData",
    )
    np.testing.assert_array_equal(decoded, frame)


def test_by_hand() -> None:
    frame = np.array([[7, 7, 7, 0], [0, 0, 0, 9]], np.uint8)
    assert rle_frame(frame)[64:] == bytes([254, 7, 0, 0, 254, 0, 0, 9])
