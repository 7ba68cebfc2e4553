"""The ``runner`` section's optimiser and learning rate schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from rigpose.errors import ConfigError
from rigpose.schema import suggest

# Parameters of an optimiser that say how it computes, not what.
_HOW = {"fused", "foreach", "differentiable"}
_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


class LRListScheduler(LRScheduler):
    """Learning rates at milestones: from epoch ``milestones[i]`` on, the groups use ``lr_list[i]``.

    Between milestones the rate stays what it was, so one that the optimiser was given lasts until the first.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: list[int],
        lr_list: list[list[float]],
        last_epoch: int = -1,
    ) -> None:
        if len(milestones) != len(lr_list):
            raise ValueError(f"{len(milestones)} milestones need as many entries in lr_list, not {len(lr_list)}")
        groups = len(optimizer.param_groups)
        if any(len(rates) != groups for rates in lr_list):
            raise ValueError(f"every entry of lr_list must be a list of {groups} learning rate(s)")
        self.milestones = [int(m) for m in milestones]
        self.lr_list = [[float(rate) for rate in rates] for rates in lr_list]
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:  # type: ignore[override]
        """The rates of this epoch, one for each parameter group."""
        if self.last_epoch in self.milestones:
            return list(self.lr_list[self.milestones.index(self.last_epoch)])
        return [float(group["lr"]) for group in self.optimizer.param_groups]


def build_optimizer(
    section: Mapping[str, Any], parameters: Iterable[torch.nn.Parameter], *, where: str = "runner.optimizer"
) -> Optimizer:
    """The ``torch.optim`` optimiser that ``runner.optimizer`` names.

    It gets frozen parameters too, as in DeepLabCut, so that optimiser states can be exchanged. Where torch has all of
    its steps in one kernel, it uses that, unless ``params`` say how.

    Raises:
        ConfigError: No such optimiser, or parameters that it does not take.
    """
    kind = _member(torch.optim, section, Optimizer, where)
    listed, params = list(parameters), dict(section.get("params") or {})
    fuse = _can_fuse(kind, listed) and params.keys().isdisjoint(_HOW)
    try:
        optimizer = kind(listed, **params, **({"fused": True} if fuse else {}))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}.params: {section['type']} refuses them: {error}.") from error
    if fuse:
        # Not in snapshots: whoever goes on with one, an older torch perhaps, chooses its own way.
        optimizer.register_state_dict_post_hook(lambda _, state: _with_fused(state, fused=None))
        optimizer.register_load_state_dict_pre_hook(lambda _, state: _with_fused(state, fused=True))
    return optimizer


def _can_fuse(kind: type[Optimizer], parameters: Sequence[torch.nn.Parameter]) -> bool:
    return kind in _FUSED and {parameter.device.type for parameter in parameters} <= {"cpu", "cuda"}


def _with_fused(state: dict[str, Any], *, fused: bool | None) -> dict[str, Any]:
    return state | {"param_groups": [group | {"fused": fused} for group in state["param_groups"]]}


def build_scheduler(
    section: Mapping[str, Any] | None, optimizer: Optimizer, *, where: str = "runner.scheduler"
) -> LRScheduler | None:
    """The schedule that ``runner.scheduler`` describes, or none; ``step_schedule`` steps it once per epoch.

    ``LRListScheduler`` and every class of ``torch.optim.lr_scheduler``; schedulers inside ``params`` (SequentialLR)
    are built first. ``ReduceLROnPlateau`` follows the key metric, so its ``mode`` is ``max`` where more is better.

    Raises:
        ConfigError: No such scheduler, or parameters that it does not take.
    """
    return None if section is None else _scheduler(section, optimizer, where)


def step_schedule(scheduler: LRScheduler | None, key_metric: float) -> None:
    """End an epoch; one that waits for a plateau only looks at epochs that were tested (others have NaN)."""
    if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        if not math.isnan(key_metric):
            scheduler.step(key_metric)
    elif scheduler is not None:
        scheduler.step()


def _scheduler(section: Mapping[str, Any], optimizer: Optimizer, where: str) -> LRScheduler:
    kind = LRListScheduler
    if section.get("type") != "LRListScheduler":
        kind = _member(lr_scheduler, section, LRScheduler, where)
    params = {
        name: _scheduler_argument(value, optimizer, f"{where}.params.{name}")
        for name, value in (section.get("params") or {}).items()
    }
    try:
        return kind(optimizer, **params)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}.params: {section['type']} refuses them: {error}.") from error


def _scheduler_argument(value: Any, optimizer: Optimizer, where: str) -> Any:
    if isinstance(value, Mapping) and "type" in value:
        return _scheduler(value, optimizer, where)
    if isinstance(value, list):
        return [_scheduler_argument(v, optimizer, f"{where}[{i}]") for i, v in enumerate(value)]
    return value


def _member(module: Any, section: Mapping[str, Any], base: type, where: str) -> Any:
    """The class of ``module`` that the section's ``type`` names."""
    known = {
        name: member
        for name, member in vars(module).items()
        if isinstance(member, type) and issubclass(member, base) and member is not base
    }
    kind = section.get("type")
    if kind not in known:
        raise ConfigError(f"{where}.type: torch has no {kind!r}{suggest(kind, known)}.")
    return known[kind]
