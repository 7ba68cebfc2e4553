"""Where a network's first weights come from: ImageNet weights of the backbone from a hub, or random ones."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Mapping
from typing import Any, Literal, cast

from rigpose.errors import ConfigError
from rigpose_training.models.backbones import Backbone
from rigpose_training.models.pose_model import PoseModel


def initialise(model: PoseModel, *, weights: Literal["imagenet", "random"] = "imagenet") -> str:
    """Load ImageNet weights into the backbone from its hub, or leave it random; say in a sentence which.

    Without a network and without the hub's cache the backbone stays random: the sentence says so, because training
    from random weights needs more labelled frames and more epochs. Layers of the backbone that have no ImageNet
    weights, as DLCRNet's banks, stay random too.

    Raises:
        ConfigError: ``weights`` is neither ``imagenet`` nor ``random``.
    """
    backbone = cast(Backbone, model.backbone)
    name = backbone.pretrained_name
    if weights == "random":
        return f"{name}: starting from random weights, as asked."
    if weights != "imagenet":
        raise ConfigError(f"weights: {weights!r} is neither imagenet nor random.")
    try:
        weights_found = _from_hub(backbone)
    except _hub_errors() as error:
        reason = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        return (
            f"{name}: ImageNet weights could not be fetched ({reason}), so training STARTS FROM RANDOM WEIGHTS; "
            "run once with a network to fill the hub's cache, or give a snapshot to start from."
        )
    own = model.backbone.state_dict()
    shared = {key: value for key, value in weights_found.items() if key in own}
    unfit = [key for key, value in shared.items() if own[key].shape != value.shape]
    if unfit or not shared:
        what = f"differ in size from this backbone at {unfit[0]}" if unfit else "have no layer of this backbone"
        return (
            f"{name}: the ImageNet weights {what}, so training STARTS FROM RANDOM WEIGHTS; give model.backbone the "
            "model_name and sizes that belong together, or a snapshot to start from."
        )
    model.backbone.load_state_dict(shared, strict=False)
    rest = len(own) - len(shared)
    return f"{name}: starting from ImageNet weights{f', except {rest} of its {len(own)} tensors' if rest else ''}."


def _from_hub(backbone: Backbone) -> Mapping[str, Any]:
    """The backbone's ImageNet weights; asks the cache alone where the hub's host has no address.

    The hub client retries for half a minute before it gives up, which a machine without a network should not wait.
    """
    import huggingface_hub.constants as hub

    asked = hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = asked or not _reachable(hub.ENDPOINT.split("://")[-1].split("/")[0])
    try:
        return backbone.imagenet_weights()
    finally:
        hub.HF_HUB_OFFLINE = asked


def _reachable(host: str) -> bool:
    if "https" in urllib.request.getproxies():
        return True
    try:
        socket.getaddrinfo(host, 443)
    except OSError:
        return False
    return True


def _hub_errors() -> tuple[type[BaseException], ...]:
    """What timm and the hub's client raise when weights do not exist or cannot be reached."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    return (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError, RuntimeError)
