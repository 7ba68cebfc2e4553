"""What a bundle's model sees and finds, in words."""

from __future__ import annotations

from rigpose.bundles.bundle import Manifest
from rigpose.models.model_spec import ModelSpec
from rigpose.models.preprocess import InputSpec
from rigpose.schema import to_mapping


def seen_by(model: ModelSpec) -> str:
    """What the pose graph is given."""
    if model.crop is not None:
        return f"crops of {model.crop.width} x {model.crop.height} px, one for each animal"
    return input_steps(model.input)


def input_steps(spec: InputSpec) -> str:
    """How frames become what a network sees."""
    steps = ["BGR frames of any size" if spec.resize is None else "BGR frames"]
    if spec.resize is not None:
        steps.append(f"resized to {spec.resize.width} x {spec.resize.height}")
    if spec.longest_side is not None:
        steps.append(f"longer side scaled to {spec.longest_side} px")
    if spec.multiple_of > 1:
        steps.append(f"padded right and bottom to multiples of {spec.multiple_of}")
    return ", ".join(steps)


def animals_found(manifest: Manifest) -> str | None:
    """What finds the animals that the pose graph sees one at a time; none where it sees whole frames."""
    model, detector = manifest.model, manifest.detector
    if model.task == "conditional_top_down":
        return "where the rough poses of a bottom-up bundle are"
    if model.task != "top_down":
        return None
    if detector is None:
        return "in boxes that must be given; the bundle has no detector"
    steps = input_steps(detector.input)
    if detector.side is not None:
        steps += f", which its graph sees at {detector.side} px"
    if detector.proposals is not None:
        steps += f", {detector.proposals} proposals"
    return f"in the best {detector.max_animals} boxes of its detector: {steps}"


def grouping_parameters(model: ModelSpec) -> list[str]:
    """What ``rigpose analyze --set`` may change: numbers, then switches; nothing for models without grouping."""
    if model.grouping is None:
        return []
    fields = to_mapping(model.grouping)
    values = [f"{name}={value:g}" for name, value in fields.items() if type(value) in (int, float)]
    switches = [f"{name}={str(value).lower()}" for name, value in fields.items() if isinstance(value, bool)]
    return [" ".join(values), " ".join(switches)]
