"""Cascades (paper section 4.1): a second network that sees a coarser one's labels.

``python -m training cascade`` lets the first network label every scan of a store that was
preprocessed for the second; recipes with ``network.previous`` read them as 14 further channels.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from inference.engines.choice import choose_device
from inference.engines.torch_arrays import TorchArrays
from inference.engines.torch_network import TorchNetwork
from inference.errors import AbdoboxError
from inference.grid import Orientation
from inference.model.description import Intensity, ModelDescription, verified_weights
from inference.scan.volume import read_volume
from inference.segmenter import Segmenter
from inference.steps.boxes import whole
from inference.types import Box, Decode, Image, Labels, Shape
from training.data.coding import code_labels, one_hot, resample_coded
from training.data.store import Store, StoredCase, StoreError


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training cascade", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the first network")
    parser.add_argument("--data", type=Path, required=True, help="store of the second")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args(argv)
    try:
        store = Store(arguments.data)
        segmenter = Segmenter.load(arguments.model, arguments.device)
        for case in store.cases:
            labels = segmenter.segment(Path(case.image)).labels
            write_previous(store, case, labels)
            print(f"labelled {case.name}", file=sys.stderr)
    except AbdoboxError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def write_previous(store: Store, case: StoredCase, labels_ZYX: Labels) -> None:
    """Store the first network's labels, given in the scan's own axis order and grid."""
    orientation = Orientation.of(read_volume(Path(case.image)).grid.direction)
    coded = code_labels(np.ascontiguousarray(orientation.apply(labels_ZYX)))
    if coded.shape != case.shape:
        coded = resample_coded(coded, case.shape)
    np.save(store.folder / f"{case.name}.previous.npy", coded)


class CascadePredictor:
    """Labels stored cases with a cascade's second network, as inference would.

    Args:
        folder: the second network's exported model.
        store: with the first network's labels.
        device: as for inference; on a processor, torch computes.
        decode: ``nearest`` or ``linear``.

    Raises:
        StoreError: the store was normalised otherwise than the network expects.
    """

    def __init__(self, folder: Path, store: Store, device: str, decode: Decode) -> None:
        description = ModelDescription.load(folder)
        if store.intensity != description.intensity:
            raise StoreError(
                store.folder,
                "has other intensity statistics than the network",
                "take the store that it was trained from",
            )
        chosen = choose_device(device)
        place = chosen if chosen.startswith("cuda") else "cpu"
        self.network = CascadeNetwork(description, verified_weights(folder, description), place)
        self.segmenter = Segmenter(folder, description, self.network)
        self.store, self.decode = store, decode

    def __call__(self, case: StoredCase) -> Labels:
        """Labels (z, y, x) in the scan's own axis order."""
        self.network.arrays.previous_ZYX = self.store.previous(case)
        return self.segmenter.segment(Path(case.image), decode=self.decode).labels


@dataclass(frozen=True)
class CascadeImage:
    """What the second network sees of a scan, on its own grid: normalised CT and coded labels.

    Cut by inference like the plain tensor of other models.
    """

    scan_ZYX: Tensor
    previous_ZYX: Tensor

    @property
    def shape(self) -> torch.Size:
        return self.scan_ZYX.shape

    def __getitem__(self, box: Box) -> CascadeImage:
        return CascadeImage(self.scan_ZYX[box], self.previous_ZYX[box])


class CascadeArrays(TorchArrays):
    """Scans together with the first network's labels of them: images are :class:`CascadeImage`.

    Attributes:
        previous_ZYX: the first network's labels of the scan that is segmented next, coded, in
            canonical order, on any grid that covers its field of view.
    """

    previous_ZYX: Labels

    def network_image(  # type: ignore[override]
        self, image_ZYX: Image, intensity: Intensity, shape: Shape, region: Box | None = None
    ) -> CascadeImage:
        scan = super().network_image(image_ZYX, intensity, shape, region)
        coded = torch.from_numpy(np.array(self.previous_ZYX)).to(scan.device)
        if coded.shape != shape:
            coded = functional.interpolate(coded[None, None], shape, mode="nearest-exact")[0, 0]
        return CascadeImage(scan, coded[region or whole(shape)])

    def numpy(  # type: ignore[override]
        self, array: CascadeImage
    ) -> npt.NDArray[np.float32]:
        return super().numpy(array.scan_ZYX)

    def take(  # type: ignore[override]
        self, array: CascadeImage, index: npt.NDArray[np.int64], axis: int
    ) -> CascadeImage:
        return CascadeImage(
            super().take(array.scan_ZYX, index, axis), super().take(array.previous_ZYX, index, axis)
        )


class CascadeNetwork(TorchNetwork):
    """A second network, which sees the scan and the first one's labels."""

    def __init__(self, description: ModelDescription, weights: bytes, device: str) -> None:
        super().__init__(description, weights, device)
        self.arrays: CascadeArrays = CascadeArrays(self.device, self.gpu)

    def stacked(  # type: ignore[override]
        self, windows: list[CascadeImage]
    ) -> Tensor:
        scans = super().stacked([window.scan_ZYX for window in windows])
        labels = one_hot(torch.stack([window.previous_ZYX for window in windows]))
        batch = torch.cat((scans, labels.to(scans.dtype)), dim=1)
        return batch.contiguous(memory_format=torch.channels_last_3d)

    def fallback(self, error: Exception) -> None:
        """None: an evaluation does not go on without the memory that it needs."""


if __name__ == "__main__":
    sys.exit(main())
