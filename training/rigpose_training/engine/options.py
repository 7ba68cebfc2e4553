"""What rigpose's training can do beyond DeepLabCut's; all of it is off unless asked for.

These options are no part of ``pytorch_config.yaml``, whose keys DeepLabCut checks strictly: a run remembers them in
its ``resume.pt``, so that the same command without them goes on as it began.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rigpose.errors import ConfigError
from rigpose.schema import parse
from rigpose_training.engine.log import LOGGER


@dataclass(frozen=True)
class TrainingOptions:
    """How a network trains, beside what ``pytorch_config.yaml`` says.

    Attributes:
        clip_norm: Largest norm of all gradients together; longer ones are scaled down. 0 leaves them.
        ema_decay: Of the running mean of the weights, which is what is tested and saved; .999 is usual. The decay
            rises to this from 0, so that the first weights are forgotten. 0 keeps no mean.
        accumulate: Batches whose gradients make one step of the optimiser.
        patience: Tests in a row without a better key metric after which training ends early; 0 never does.
        channels_last: Whether images and weights lie channels last in memory, which convolutions in half precision
            on a GPU like.
        compile_model: Whether the forward pass goes through ``torch.compile``.
        tensorboard: Whether losses and metrics go to a folder ``tensorboard`` too.
    """

    clip_norm: float = 0.0
    ema_decay: float = 0.0
    accumulate: int = 1
    patience: int = 0
    channels_last: bool = False
    compile_model: bool = False
    tensorboard: bool = False


def choose_options(given: Mapping[str, Any], saved: Mapping[str, Any] | None) -> TrainingOptions:
    """The options of a run: what is given now, else what the run that goes on was begun with, else off.

    A sentence of the log names what differs from the beginning.

    Raises:
        ConfigError: An unknown option, a wrong type, or a number out of range.
    """
    where = "training option"
    before = asdict(parse(TrainingOptions, saved, where=where)) if saved is not None else {}
    options = parse(TrainingOptions, before | dict(given), where=where)
    _check(options)
    changed = {name: value for name, value in asdict(options).items() if name in before and value != before[name]}
    if changed:
        listed = ", ".join(f"{name} {before[name]} -> {value}" for name, value in changed.items())
        LOGGER.info("This run was begun with other options: %s.", listed)
    return options


def _check(options: TrainingOptions) -> None:
    if not 0 <= options.ema_decay < 1:
        raise ConfigError(f"ema_decay: {options.ema_decay} is no decay; give 0 (off) or a number below 1, e.g. .999.")
    least = {
        "clip_norm": (options.clip_norm, 0),
        "patience": (options.patience, 0),
        "accumulate": (options.accumulate, 1),
    }
    for name, (value, smallest) in least.items():
        if value < smallest:
            raise ConfigError(f"{name}: {value} is too small; give {smallest} or more.")
