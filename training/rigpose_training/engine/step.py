"""One batch: forward pass, loss, gradients and, when its turn has come, a step of the optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
import torch.distributed as dist
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from rigpose.errors import TrainingError
from rigpose_training.data.batches import on_device
from rigpose_training.engine.options import TrainingOptions
from rigpose_training.engine.state import TrainingState
from rigpose_training.engine.team import Team
from rigpose_training.models import PoseModel
from rigpose_training.objectives import Objective
from rigpose_training.sampling import grid_sampling

Amp: TypeAlias = Literal["auto", "bf16", "fp16", "off"]


class Forward(nn.Module):
    """A network under its objective, so that whatever wraps this module sees every forward pass."""

    def __init__(self, network: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.network = network
        self.objective = objective

    def forward(self, batch: Mapping[str, Any]) -> Any:
        """What the objective makes terms of."""
        return self.objective.forward(self.network, batch)


@dataclass
class Step:
    """What is done with every batch.

    Attributes:
        state: What learns.
        objective: How a batch becomes a loss.
        forward: The network under that objective, wrapped for the team and compiled where asked.
        autocast: Half precision of the forward pass, or none for float32.
        options: Clipping, accumulation and memory layout.
    """

    state: TrainingState
    objective: Objective
    forward: nn.Module
    autocast: torch.dtype | None
    options: TrainingOptions

    def __call__(self, batch: Mapping[str, Any], *, of: int) -> dict[str, torch.Tensor]:
        """Learn from batch number ``state.batches`` (counted from 0) of an epoch of ``of``.

        Returns:
            The loss terms, still on the device.
        """
        place, together = self._group(of)
        batch = self._prepared(batch)
        if place == 0:
            self.state.optimizer.zero_grad(set_to_none=True)
        with self._gradients_stay_here(not_yet=place + 1 < together):
            half = torch.autocast(self.state.device.type, dtype=self.autocast, enabled=self.autocast is not None)
            with _quick_sampling(self.state.device), half:
                outputs = self.forward(batch)
            terms = self.objective.terms(outputs, batch)
            self.state.scaler.scale(terms["total_loss"] / together).backward()
        if place + 1 == together:
            self._update()
        return {name: term.detach() for name, term in terms.items()}

    def closes(self, of: int) -> bool:
        """Whether the optimiser made a step with the last batch, so that training can stop here."""
        return self.state.batches % self.options.accumulate == 0 or self.state.batches == of

    def _group(self, of: int) -> tuple[int, int]:
        """The batch's place among those of one step, and how many they are: fewer at an epoch's end."""
        place = self.state.batches % self.options.accumulate
        return place, min(self.options.accumulate, of - self.state.batches + place)

    def _prepared(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        moved = on_device(batch, self.state.device)
        if self.options.channels_last:
            moved["image"] = moved["image"].contiguous(memory_format=torch.channels_last)
        return moved

    def _gradients_stay_here(self, *, not_yet: bool) -> Any:
        """Between processes gradients travel once per step of the optimiser."""
        if not_yet and isinstance(self.forward, DistributedDataParallel):
            return self.forward.no_sync()
        return nullcontext()

    def _update(self) -> None:
        state = self.state
        if self.options.clip_norm:
            state.scaler.unscale_(state.optimizer)
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), self.options.clip_norm)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.updates += 1
        if state.averaged is not None:
            state.averaged.update(state.model, step=state.updates)


def wrap(model: nn.Module, objective: Objective, options: TrainingOptions) -> nn.Module:
    """The network under its objective: compiled where asked, and with gradients that the team shares.

    The parameters that train are the network's own, under their own names.
    """
    network = torch.compile(model) if options.compile_model else model
    forward = Forward(network, objective)  # pyright: ignore[reportArgumentType]  # a compiled module is a module
    if not dist.is_initialized():
        return forward
    # A detector's branches, and layers that a criterion does not reach, may get no gradient from a batch.
    return DistributedDataParallel(forward, find_unused_parameters=True)


def _quick_sampling(device: torch.device) -> AbstractContextManager[None]:
    """On CPUs DEKR learns twice as fast through GridSample as through torchvision's deformable convolution."""
    return grid_sampling() if device.type == "cpu" else nullcontext()


def training_mode(model: nn.Module) -> None:
    """Training mode, except that batch normalisation which is frozen goes on using its running statistics."""
    model.train()
    part = _with_frozen_batch_norm(model)
    if part.freeze_bn_stats:
        for module in part.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def freeze_bn_weights(model: nn.Module) -> None:
    """Keep scale and shift of batch normalisation as they are, where the configuration says so."""
    part = _with_frozen_batch_norm(model)
    if part.freeze_bn_weights:
        for module in part.modules():
            if isinstance(module, _BatchNorm) and module.affine:
                module.weight.requires_grad = False
                module.bias.requires_grad = False


def share_batch_norm(model: nn.Module, device: torch.device, team: Team) -> nn.Module:
    """Batch normalisation over the images of all processes, which only GPUs can do."""
    if team.size == 1 or device.type != "cuda":
        return model
    return convert_sync_batchnorm(model)


def choose_precision(amp: Amp, device: torch.device) -> torch.dtype | None:
    """Half precision of the forward pass, or none for float32.

    ``auto`` is half precision on a CUDA device (bfloat16 where it has it) and float32 elsewhere.

    Raises:
        TrainingError: ``fp16`` without a CUDA device.
    """
    if amp == "fp16" and device.type != "cuda":
        raise TrainingError(f"amp fp16: needs a CUDA device and this is {device}; give amp bf16, auto or off.")
    if amp == "auto":
        if device.type != "cuda":
            return None
        amp = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "off": None}[amp]


def _with_frozen_batch_norm(model: nn.Module) -> Any:
    """The part that ``freeze_bn_stats`` and ``freeze_bn_weights`` speak of: the backbone, or a whole detector."""
    return model.backbone if isinstance(model, PoseModel) else model
