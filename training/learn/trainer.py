"""The training loop (paper section 3.2 and Table 4)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from inference.engines.torch_unet import UNet
from inference.labels import NAMES
from training.data.store import Store
from training.learn import checkpoint, terms
from training.learn.average import Average
from training.learn.convolution import is_slow, replace_weight_gradients
from training.learn.first_weights import first_weights
from training.learn.journal import Journal, Losses
from training.learn.limits import Limits, Position
from training.learn.loss import counted_pairs, supervised_sum
from training.learn.optimisation import build_optimizer, rate_factor
from training.learn.precision import (
    autocast,
    images_at_once,
    keep_in_float32,
    memory_format,
    training_dtype,
)
from training.learn.processes import Processes
from training.learn.validate import mean_dice, quick_dice
from training.learn.weights import build_network, inference_weights
from training.learn.widen import WidthError, widen
from training.patches.loader import Batch, Loader
from training.recipe import Recipe, RecipeError
from training.synthesis.anatomy import Anatomy
from training.synthesis.mixture import Mixture
from training.synthesis.source import SyntheticSource
from training.synthesis.transplant import cut_pieces

# Between two checkpoints.
CHECKPOINT_SECONDS = 180.0


class Trainer:
    """Trains one network from a store into a folder.

    Args:
        recipe, store: what to train, on what.
        out: folder for checkpoints and the journal.
        processes: this process among those of the run.
        anatomies: bodies for the recipe's synthetic patches; without any there are none.
        further: what else must be the same when the training goes on (:mod:`training.learn.terms`).

    Raises:
        RecipeError: the batch is smaller than the number of processes.
        StoreError: the store was preprocessed for another grid.
    """

    def __init__(
        self,
        recipe: Recipe,
        store: Store,
        out: Path,
        processes: Processes,
        anatomies: Sequence[Anatomy] = (),
        further: Mapping[str, Any] | None = None,
    ) -> None:
        if processes.world > recipe.sampling.batch:
            raise RecipeError(
                recipe.name,
                f"has {recipe.sampling.batch} patches a step for {processes.world} processes",
                "start no more processes than that",
            )
        store.check_grid(recipe.sampling)
        self.recipe, self.store, self.out, self.processes = recipe, store, out, processes
        self.terms = {
            "recipe": recipe.to_dict(),
            "held_out": list(store.held_out),
            "intensity_hu": dataclasses.asdict(store.intensity),
            **(further or {}),
        }
        self.started_from: str | None = None
        self.device = processes.device
        self.dtype = training_dtype(recipe.optimisation.amp, self.device)
        self.format = memory_format(self.device)
        torch.backends.cudnn.benchmark = True
        torch.manual_seed(recipe.seed)
        self.network = build_network(recipe.network).to(self.device, memory_format=self.format)  # type: ignore[call-overload]
        if self.device.type == "cpu" and self.dtype == torch.bfloat16:
            keep_in_float32(self.network.encoder[-1], self.device)
        if is_slow(self.device, self.dtype):
            replace_weight_gradients(self.network)
        self.wrapped: nn.Module = self.network
        if processes.world > 1:
            self.wrapped = DistributedDataParallel(self.network)
        self.optimizer = build_optimizer(self.network, recipe.optimisation)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.dtype == torch.float16)
        ema = recipe.optimisation.ema
        self.average = Average(self.network, ema) if ema else None
        self.position = Position()
        self.stop_asked = False
        self.journal = Journal(out, quiet=processes.rank > 0)
        self.loader = Loader(
            store,
            store.split("train", recipe.unlabelled),
            recipe,
            self.device,
            rank=processes.rank,
            world=processes.world,
        )
        self.mixture: Mixture | None = None
        drawn = recipe.synthesis
        shares = (drawn.share, drawn.tumors, drawn.transplants, drawn.fillings, drawn.removals)
        if anatomies and any(shares):
            source = SyntheticSource(
                anatomies,
                recipe.sampling.spacing,
                self.device,
                elsewhere_chance=drawn.elsewhere,
                cyst_chance=drawn.cysts,
            )
            self.mixture = Mixture(
                source,
                store.intensity,
                drawn.share,
                drawn.tumors,
                drawn.fillings,
                drawn.removals,
                drawn.transplants,
                cut_pieces(store, self.loader.cases, self.device) if drawn.transplants else (),
                recipe.seed,
                self.loader.members,
            )

    def start_from(self, path: Path) -> None:
        """Take over the (averaged) weights of another run's checkpoint or of an exported model.

        Its network may be narrower. An exported model's heads of deep supervision begin anew.

        Raises:
            CheckpointError, ModelError: its network cannot be widened to this one's, or
                :func:`training.learn.first_weights.first_weights` refuses it.
        """
        first = first_weights(path, self.store, self.out, self.device)
        self.started_from = first.sha256
        try:
            widen(self.network, first.weights, self.recipe.seed)
        except WidthError as error:
            raise checkpoint.CheckpointError(
                self.out, f"cannot start from {path}: {error}", "take another recipe"
            ) from error
        if self.average is not None:
            self.average = Average(self.network, self.average.decay)

    def stop(self) -> None:
        """Ask :meth:`train` to stop after the present step, with a checkpoint."""
        self.stop_asked = True

    def train(self, limits: Limits) -> bool:
        """Train until the recipe's end or a limit. Returns whether the training is complete."""
        begun, before = time.monotonic(), self.position.seconds
        saved, losses = begun, Losses(self.journal)
        for batch in self.loader.batches(self.position.step):
            # By the slowest clock: all processes must take the same learning rate.
            progress = self.processes.max(limits.progress(self.position, self.recipe.steps))
            elapsed = time.monotonic() - begun
            stop = self.stop_asked or progress >= 1 or elapsed >= 60 * limits.minutes
            stop = stop or self.position.step == limits.steps
            # All processes must agree, or those that go on wait for the others for ever.
            if self.processes.any(stop):
                break
            mixed = self.mixture.mixed(self.position.step, batch) if self.mixture else batch
            loss = self.step(mixed, progress)
            self.position.step += 1
            self.position.seconds = before + time.monotonic() - begun
            losses.add(loss, self.position, self.optimizer.param_groups[0]["lr"])
            if self.position.step % self._validation_steps == 0:
                self.validate()
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self.save(checkpoint.LAST)
                saved = time.monotonic()
        progress = limits.progress(self.position, self.recipe.steps)
        losses.write()
        self.save(checkpoint.LAST)
        return progress >= 1

    def step(self, batch: Batch, progress: float) -> float:
        """One optimiser step on this process's share of a batch.

        Returns:
            The loss (equation 2) of the whole batch over all processes.
        """
        settings = self.recipe.optimisation
        self.wrapped.train()
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate * rate_factor(settings, progress)
        self.optimizer.zero_grad(set_to_none=True)
        total = self._backward(batch)
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip_norm)
        if not self.scaler.is_enabled() and not norm.isfinite():
            # bfloat16 has no scaler that would leave such a step out; one NaN would be the end.
            self.journal.write("skipped", self.position.step, norm=float(norm))
            return total
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.network)
        return total

    def _backward(self, batch: Batch) -> float:
        """Gradients of equation 2 over all processes; returns the loss."""
        counted = counted_pairs(batch.annotated_NC, self.recipe.loss.selected)
        pairs = self.processes.sum(counted.sum().float()).clamp_min(1)
        size = images_at_once(self.device, self.dtype, len(counted))
        total = torch.zeros((), device=self.device)
        for first in range(0, len(counted), size):
            part = slice(first, first + size)
            with self.processes.accumulate(self.wrapped, first + size >= len(counted)):
                with autocast(self.dtype, self.device):
                    image = batch.image_NCZYX[part]
                    heads = self.wrapped(image.contiguous(memory_format=self.format))
                cost = supervised_sum(heads, batch.labels_NZYX[part], counted[part]) / pairs
                # DistributedDataParallel takes the mean over processes where the sum is meant.
                scaled: Tensor = self.scaler.scale(cost * self.processes.world)
                scaled.backward()  # type: ignore[no-untyped-call]
            total += cost.detach()
        return float(self.processes.sum(total))

    def validate(self) -> None:
        """Quick DSC of the averaged network on the validation cases; keeps the best weights."""
        scores: dict[str, dict[int, float]] = {}
        if self.processes.rank == 0:
            network = self.averaged()
            for case in self.store.split("validation"):
                scores[case.name] = quick_dice(network, self.loader, case, self.dtype)
        mean = mean_dice(list(scores.values()))
        if scores:
            rounded = {
                name: {NAMES[v]: round(d, 4) for v, d in score.items()}
                for name, score in scores.items()
            }
            self.journal.write("validation", self.position.step, mean_dice=mean, cases=rounded)
        if mean > self.position.best:
            self.position.best = mean
            self.save(checkpoint.BEST)

    def averaged(self) -> UNet:
        """A copy of the network without deep supervision, with averaged weights if kept."""
        network = UNet(self.recipe.network.architecture())
        network.to(self.device, memory_format=self.format)  # type: ignore[call-overload]
        network.load_state_dict(inference_weights(self.state()))
        return network.eval()

    def save(self, name: str) -> None:
        """Write a checkpoint, from the first process."""
        if self.processes.rank == 0:
            checkpoint.save(self.out / name, self.state())

    def state(self) -> dict[str, Any]:
        """Everything that :meth:`restore` needs; also what ``export`` reads."""
        return {
            **self.terms,
            "started_from": self.started_from,
            "network": self.network.state_dict(),
            "average": self.average.state() if self.average is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "position": vars(self.position).copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a checkpoint was written.

        Raises:
            CheckpointError: it belongs to another network or was trained on other terms.
        """
        terms.check(self.terms, state, self.out)
        self.started_from = state.get("started_from")
        try:
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise checkpoint.CheckpointError(
                self.out, "holds another network", "resume with the recipe it was trained with"
            ) from error
        if state["scaler"]:  # empty where the numbers so far needed none
            self.scaler.load_state_dict(state["scaler"])
        if self.average is not None and state["average"] is not None:
            self.average.restore(state["average"])
        self.position = Position(**state["position"])

    @property
    def _validation_steps(self) -> int:
        return self.recipe.validate_every * self.recipe.optimisation.steps_per_epoch
