"""Weights of another network as first weights: each keypoint's own, whatever its place in either network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from rigpose.errors import ConfigError, SnapshotError
from rigpose_training.models.heads.paf import DLCRNetHead
from rigpose_training.models.keypoint_axes import KeypointParameters, Layout, keypoint_parameters
from rigpose_training.models.pose_model import PoseModel

Weights = Mapping[str, torch.Tensor]
Numbers = tuple[int | None, ...]
"""For each output of the network, the number of the source's output that it begins with, or none."""

TRUNK = ("backbone.", "neck.")


@dataclass(frozen=True)
class Counterparts:
    """What the outputs of a network begin with.

    Attributes:
        bodyparts: Per bodypart.
        unique_bodyparts: Per unique bodypart.
        individuals: Per individual, for the identity head.
        graph: The source's pairs of bodyparts with a part affinity field, in the order of its channels.
        named: How many bodyparts the source has by the list that their names were found in, if there is one.
    """

    bodyparts: Numbers
    unique_bodyparts: Numbers = ()
    individuals: Numbers = ()
    graph: tuple[tuple[int, int], ...] = ()
    named: int | None = None


def transfer(model: PoseModel, weights: Weights, counterparts: Counterparts, *, heads: bool, source: str) -> list[str]:
    """Give a network the weights of a source, and return what of its heads the source does not have, in words.

    Backbone and neck must be the same; what depends on keypoints there is found by ``counterparts``, as in the heads.
    An output without a counterpart keeps the weights that it has, and so do layers that the source does not have.

    Args:
        model: The network, with its first weights.
        weights: The source's state dict.
        counterparts: For the outputs of ``model``.
        heads: Whether the heads take part, and not only backbone and neck.
        source: What to call the source in messages.

    Raises:
        ConfigError: ``counterparts`` are for another number of outputs.
        SnapshotError: The networks are different in more than their keypoints.
    """
    _check_names(model, counterparts)
    own = model.state_dict()
    weights = _as_stored(own, weights)
    absent = _absent_layers(own, weights) if heads else []
    left = tuple(f"{layer}." for layer in absent) if heads else ("heads.",)
    begun = {key: first for key, first in own.items() if not key.startswith(left)}
    donor = _Donor(model, weights, counterparts)
    if unknown := donor.unknown(begun):
        raise SnapshotError(
            f"{source}: {unknown}; correct the map of its keypoints, or put its own pytorch_config.yaml beside it."
        )
    unfit = [what for key, first in begun.items() if (what := donor.unfit(key, first))]
    unfit += [f"{key} is not in the model" for key in weights if key.startswith(TRUNK) and key not in own]
    if heads and not any(key.startswith("heads.bodypart.") for key in begun):
        unfit.append("heads.bodypart has no layer in common")
    _refuse(unfit, source)
    model.load_state_dict(own | {key: donor.begin(key, first) for key, first in begun.items()})
    return absent + (donor.lost_fields() if heads else [])


@dataclass(frozen=True)
class _Places:
    """Along one axis: places in the network, the source's places that belong to them, and the signs of the latter."""

    here: list[int]
    there: list[int]
    signs: list[int]
    size_there: int


class _Donor:
    """A source's weights, as the parameters of one network find them."""

    def __init__(self, model: PoseModel, weights: Weights, counterparts: Counterparts) -> None:
        self.weights = weights
        self.parameters = keypoint_parameters(model)
        self.counterparts = counterparts
        self.counts = _counts(self.parameters, weights)
        self.edges = {
            f"heads.{name}": _edge_numbers(head.config.predictor["graph"], counterparts)
            for name, head in model.heads.items()
            if isinstance(head, DLCRNetHead)
        }

    def unknown(self, keys: Mapping[str, torch.Tensor]) -> str:
        """The first counterpart that the source does not have, in words, or nothing."""
        for part in dict.fromkeys(map(_part, keys)):
            count = self.counts.get(part, {}).get("keypoint")
            if count is None:
                continue
            if part == "heads.bodypart" and self.counterparts.named not in (None, count):
                return f"has {count} keypoints, and not the {self.counterparts.named} that its names are for"
            beyond = [
                number for number in _numbers(self.counterparts, part) if number is not None and not 0 <= number < count
            ]
            if beyond:
                return f"has {count} keypoints in {part}, and none of them has number {beyond[0]} (the first has 0)"
        return ""

    def there(self, key: str) -> str | None:
        """The source's name of a parameter; none where it belongs to a keypoint that begins anew."""
        for prefix in self.parameters.modules:
            if key.startswith(prefix):
                number, _, rest = key.removeprefix(prefix).partition(".")
                counterpart = _numbers(self.counterparts, _part(key))[int(number)]
                return None if counterpart is None else f"{prefix}{counterpart}.{rest}"
        return key

    def places(self, key: str) -> dict[int, _Places]:
        """By axis, where the values of a parameter come from."""
        return {axis: self._places(key, layout) for axis, layout in self.parameters.axes.get(key, {}).items()}

    def _places(self, key: str, layout: Layout) -> _Places:
        numbers = {
            "keypoint": [(number, 1) for number in _numbers(self.counterparts, _part(key))],
            "edge": self.edges.get(_part(key), []),
            "shared": [(0, 1)],  # one block, at its own place in both networks
        }
        here, there, signs = [], [], []
        place, start = 0, 0
        for part in layout:
            for number, sign in numbers[part.of]:
                if number is not None:
                    here += range(place, place + part.width)
                    there += range(start + number * part.width, start + (number + 1) * part.width)
                    signs += [sign] * part.width
                place += part.width
            start += part.width * (1 if part.of == "shared" else self.counts.get(_part(key), {}).get(part.of, 0))
        return _Places(here, there, signs, start)

    def unfit(self, key: str, first: torch.Tensor) -> str:
        """Why a parameter cannot begin with the source's, or nothing."""
        there = self.there(key)
        if there is None:
            return ""
        if there not in self.weights:
            return f"{there} is missing"
        places = self.places(key)
        expected = [places[axis].size_there if axis in places else size for axis, size in enumerate(first.shape)]
        shape = list(self.weights[there].shape)
        return "" if shape == expected else f"{there} is {_shape(shape)} in the file where {_shape(expected)} belongs"

    def lost_fields(self) -> list[str]:
        """The part affinity fields of pairs that the source does not have, in words."""
        lost = {head: sum(number is None for number, _ in edges) for head, edges in self.edges.items()}
        return [f"{count} of {len(self.edges[head])} fields of {head}" for head, count in lost.items() if count]

    def begin(self, key: str, first: torch.Tensor) -> torch.Tensor:
        """``first`` with the source's values wherever there is a counterpart."""
        there = self.there(key)
        return first if there is None else _filled(first, self.weights[there].to(first), list(self.places(key).items()))


def _part(key: str) -> str:
    """``backbone``, ``neck`` or ``heads.bodypart``."""
    return ".".join(key.split(".")[: 2 if key.startswith("heads.") else 1])


def _counts(parameters: KeypointParameters, weights: Weights) -> dict[str, dict[str, int]]:
    """By part, how many keypoints and edges a network has, by the axes that have nothing else along them."""
    found: dict[str, dict[str, int]] = {}
    for key, axes in parameters.axes.items():
        for axis, layout in axes.items():
            if len(layout) == 1 and key in weights:
                found.setdefault(_part(key), {}).setdefault(layout[0].of, weights[key].shape[axis] // layout[0].width)
    return found


def _check_names(model: PoseModel, counterparts: Counterparts) -> None:
    for part, count in _counts(keypoint_parameters(model), model.state_dict()).items():
        named = len(_numbers(counterparts, part))
        if "keypoint" in count and count["keypoint"] != named:
            raise ConfigError(
                f"metadata: names {named} keypoints, but model.{part} is made for {count['keypoint']}; correct the "
                "one or the other in pytorch_config.yaml."
            )


def _numbers(counterparts: Counterparts, part: str) -> Numbers:
    """Those of what a part's keypoints are."""
    of_head = {"heads.unique_bodypart": "unique_bodyparts", "heads.identity": "individuals"}
    return getattr(counterparts, of_head.get(part, "bodyparts"))


def _edge_numbers(graph: Sequence[Sequence[int]], counterparts: Counterparts) -> list[tuple[int | None, int]]:
    """Per edge its number in the source and a sign: the field of an edge that runs the other way points back."""
    numbers = {edge: (number, 1) for number, edge in enumerate(counterparts.graph)}
    numbers = {(b, a): (number, -1) for (a, b), (number, _) in numbers.items()} | numbers
    found: list[tuple[int | None, int]] = []
    for ends in graph:
        a, b = (counterparts.bodyparts[end] for end in ends)
        found.append((None, 1) if a is None or b is None else numbers.get((a, b), (None, 1)))
    return found


def _as_stored(own: Weights, weights: Weights) -> dict[str, torch.Tensor]:
    """The source's weights with 1 x 1 layers stored as the network has them.

    A transposed convolution of one pixel and stride 1 is a convolution with its axes exchanged. SuperAnimal's HRNet
    ends in the one, a shuffle's in the other.
    """
    stored = dict(weights)
    for key, first in own.items():
        for here, there in ((".final_conv.", ".deconv_layers.0."), (".deconv_layers.0.", ".final_conv.")):
            found = weights.get(key.replace(here, there))
            if here not in key or key in weights or found is None:
                continue
            if first.ndim == 1:
                stored[key] = found
            elif first.shape[2:] == found.shape[2:] == (1, 1):
                stored[key] = found.transpose(0, 1)
    return stored


def _absent_layers(own: Weights, weights: Weights) -> list[str]:
    """Layers of the heads, such as ``heads.bodypart.locref_head``, of which the source has nothing at all."""
    layers = dict.fromkeys(".".join(key.split(".")[:3]) for key in own if key.startswith("heads."))
    return [layer for layer in layers if not any(key.startswith(f"{layer}.") for key in weights)]


def _filled(first: torch.Tensor, found: torch.Tensor, axes: list[tuple[int, _Places]]) -> torch.Tensor:
    """``first`` with what was ``found`` at all places that have a counterpart along every one of ``axes``."""
    if not axes:
        return found
    (axis, places), *rest = axes
    here, there = (torch.tensor(p, dtype=torch.long, device=first.device) for p in (places.here, places.there))
    signs = torch.tensor(places.signs).to(first).reshape([-1] + [1] * (first.ndim - axis - 1))
    block = _filled(first.index_select(axis, here), found.index_select(axis, there) * signs, rest)
    return first.index_copy(axis, here, block)


def _refuse(unfit: Sequence[str], source: str) -> None:
    trunk = [what for what in unfit if what.startswith(TRUNK)]
    if trunk:
        raise SnapshotError(
            f"{source}: its backbone is another one than that of pytorch_config.yaml ({'; '.join(trunk[:2])}); create "
            "the shuffle with the net_type that the file was trained with, or remove train_settings.weight_init."
        )
    if unfit:
        raise SnapshotError(
            f"{source}: its heads are of another kind than those of pytorch_config.yaml ({'; '.join(unfit[:2])}); "
            "begin with its backbone alone (load_head_weights=False, --backbone-only or with_decoder: false), or give "
            "model.heads the settings that the file was trained with."
        )


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "a single number"
