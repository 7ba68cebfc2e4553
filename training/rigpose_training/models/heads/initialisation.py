"""The first weights of a head: the only place where ``weight_init`` of a head section becomes numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from rigpose.errors import ConfigError
from rigpose.schema import parse, suggest


@dataclass(frozen=True)
class WeightInit:
    """``weight_init`` of a head, which may also be its ``type`` alone. ``std`` is that of the convolutions."""

    type: str
    std: float = 0.001


def initialise_head(module: nn.Module, weight_init: str | Mapping[str, Any] | None, *, where: str) -> None:
    """Draw the weights of a head as its ``weight_init`` says; ``None`` keeps torch's own.

    Args:
        module: The whole head.
        weight_init: ``normal``, ``dekr``, ``rtmpose`` in any case, or a mapping with that as ``type`` and a ``std``.
        where: File and key path of the head section, for the message.

    Raises:
        ConfigError: No such initialisation; the nearest name is suggested.
    """
    if weight_init is None:
        return
    section = {"type": weight_init} if isinstance(weight_init, str) else weight_init
    chosen = parse(WeightInit, section, where=f"{where}.weight_init")
    kind = chosen.type.lower()
    if kind not in INITIALISATIONS:
        known = ", ".join(INITIALISATIONS)
        raise ConfigError(f"{where}.weight_init: {chosen.type!r} is none of {known}{suggest(kind, INITIALISATIONS)}.")
    INITIALISATIONS[kind](module, chosen.std)


def _normal(module: nn.Module, std: float) -> None:
    """Weights N(0, std), shifts 0."""
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif parameter.ndim > 1:
            # DeepLabCut draws the scales of normalisation from N(0, std) too: a scale near 0 passes almost no
            # gradient on to the backbone, so here they keep torch's 1.
            nn.init.normal_(parameter, std=std)


def _dekr(module: nn.Module, std: float) -> None:
    """Like ``normal``, and every deformable convolution starts by sampling its own cell (Geng et al. 2021).

    DeepLabCut means to do so but looks for the layers where they never are, so its offsets start at random.
    """
    _normal(module, std)
    for name, parameter in module.named_parameters():
        if "transform_matrix_conv" in name or "translation_conv" in name:
            nn.init.zeros_(parameter)


def _rtmpose(module: nn.Module, std: float) -> None:
    """Convolutions N(0, std), linear layers N(0, 0.01), shifts 0 (Jiang et al. 2023)."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(layer.weight, std=std if isinstance(layer, nn.Conv2d) else 0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


# A string in the file becomes code here and nowhere else.
INITIALISATIONS: dict[str, Callable[[nn.Module, float], None]] = {
    "normal": _normal,
    "dekr": _dekr,
    "rtmpose": _rtmpose,
}
