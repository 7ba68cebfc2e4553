"""The arguments that say how animals are found, and the choices that they mean."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rigpose.commands.argument_types import at_least_one, at_least_zero
from rigpose.errors import ConfigError

if TYPE_CHECKING:
    from rigpose.analyzers.patch_search import PatchSearch
    from rigpose.analyzers.run_options import RunOptions
    from rigpose.analyzers.tracking_crop import DynamicCrop

DYNAMIC = "dynamic"
"""The word of ``--crop`` for a region that follows the animal."""


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add them; ``--crop`` itself is the command's."""
    _configure_region(parser.add_argument_group("how a region follows the animal (--crop dynamic)"))
    _configure_run(parser.add_argument_group("how animals are found"))


def run_options(arguments: argparse.Namespace) -> RunOptions:
    """What was typed about finding animals.

    Raises:
        ConfigError: A value that makes no sense.
    """
    from rigpose.analyzers.run_options import RunOptions

    return RunOptions(
        max_animals=arguments.max_animals,
        detector_cutoff=arguments.detector_cutoff,
        detect_every=arguments.detect_every,
        detector_iou=arguments.detector_iou,
        same_animal=arguments.same_animal,
        combined=arguments.combined,
        grouping=dict(arguments.set),
        dynamic_crop=_dynamic_crop(arguments),
        patch_search=_patch_search(arguments),
    )


def _configure_region(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--crop-size",
        type=_width_and_height,
        metavar="W,H",
        help="least size of the region in px; a network's grid may make it up to 31 px larger (default: half the "
        "frame's)",
    )
    parser.add_argument(
        "--crop-score",
        type=float,
        metavar="SCORE",
        help="keypoints that score less do not say where the animal is (default: 0.5)",
    )
    parser.add_argument(
        "--crop-margin",
        type=at_least_zero,
        metavar="PX",
        help="how far inside the region its keypoints must lie (default: 10)",
    )
    parser.add_argument(
        "--search-every",
        type=at_least_one,
        metavar="N",
        help="look at every N-th frame of a video as a whole in any case; N whole frames are held in memory "
        "(default: 30)",
    )


def _configure_run(parser: argparse._ArgumentGroup) -> None:
    parser.add_argument(
        "--conditions",
        type=Path,
        metavar="BUNDLE",
        help="for a conditional top-down model: the bottom-up model that finds its rough poses",
    )
    parser.add_argument(
        "--max-animals",
        type=at_least_one,
        metavar="N",
        help="most animals of a frame (default: what the model was made for)",
    )
    parser.add_argument(
        "--detector-cutoff",
        type=float,
        metavar="SCORE",
        help="for a top-down model: boxes that score less are no animals (default: the model's, mostly 0)",
    )
    parser.add_argument(
        "--detect-every",
        type=at_least_one,
        default=1,
        metavar="N",
        help="for a top-down model: find boxes anew in every N-th frame of a video only, and look around the last "
        "pose of each animal in the frames between; N whole frames are held in memory (default: %(default)s)",
    )
    parser.add_argument(
        "--detector-iou",
        type=float,
        metavar="IOU",
        help="for a top-down model: of two boxes whose intersection over union is larger, the weaker is dropped "
        "(default: the detector's own suppression alone)",
    )
    parser.add_argument(
        "--same-animal",
        type=float,
        metavar="OKS",
        help="for a top-down or conditional model: of two poses of a frame that are so similar (0 to 1), the weaker is "
        "dropped (default: all are kept, but between detections one of two with 0.9)",
    )
    parser.add_argument(
        "--search",
        choices=("patches",),
        help="for a top-down model of one animal without a detector: look into overlapping patches of the frame until "
        "the animal is found, then around its last pose",
    )
    parser.add_argument(
        "--combined",
        action="store_true",
        help="for a top-down bundle that was exported with --combined: run detector, crops and pose network as one "
        "graph, which on a GPU saves the way of frames and crops through the computer's memory; it always looks into "
        "as many boxes as the model has animals, so that few animals cost as much as all",
    )
    parser.add_argument(
        "--set",
        type=_key_and_value,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value for a grouping parameter of the model, such as min_affinity=0.1; may be repeated "
        "(rigpose inspect shows those of a bundle)",
    )


def _dynamic_crop(arguments: argparse.Namespace) -> DynamicCrop | None:
    from rigpose.analyzers.tracking_crop import DynamicCrop

    searches = DYNAMIC not in arguments.crop and arguments.search is not None
    typed = {
        "size": arguments.crop_size,
        "min_score": arguments.crop_score,
        "margin": arguments.crop_margin,
        "search_every": None if searches else arguments.search_every,
    }
    given = {name: value for name, value in typed.items() if value is not None}
    if DYNAMIC in arguments.crop:
        return DynamicCrop(**given)
    if given:
        raise ConfigError(
            "crop-size, crop-score, crop-margin and search-every say how a region follows the animal; add --crop "
            "dynamic, or leave them out."
        )
    return None


def _patch_search(arguments: argparse.Namespace) -> PatchSearch | None:
    from rigpose.analyzers.patch_search import PatchSearch

    if arguments.search is None:
        return None
    return PatchSearch() if arguments.search_every is None else PatchSearch(search_every=arguments.search_every)


def _width_and_height(text: str) -> tuple[int, int]:
    width, comma, height = text.partition(",")
    if not comma or not width.strip().isdigit() or not height.strip().isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form W,H in pixels, such as 320,256")
    return int(width), int(height)


def _key_and_value(text: str) -> tuple[str, Any]:
    import yaml

    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form KEY=VALUE, such as min_affinity=0.1")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise argparse.ArgumentTypeError(f"{value!r} is no number, text, true or false") from error
