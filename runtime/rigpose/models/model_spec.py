"""What a pose model is, apart from its weights: shared by training's evaluation, the bundle and the rig."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias

from rigpose.errors import ConfigError
from rigpose.models.crops import CropSpec
from rigpose.models.paf_calibration import PafCalibration
from rigpose.models.preprocess import InputSpec
from rigpose.schema import parse, suggest, to_mapping

Task: TypeAlias = Literal["single_animal", "paf", "dekr", "top_down", "conditional_top_down"]


@dataclass(frozen=True)
class PafGrouping:
    """How peaks and part affinities become animals; everything here may change at run time.

    Attributes:
        edges: Pairs of keypoint indices, in the order of the graph's ``affinity``.
        max_animals: Most animals of a frame. The graph gives a fixed number of peaks per part, so raising this above
            what the model was made for helps only as far as they reach.
        min_affinity: Smallest affinity of a pair of peaks that may be one animal's.
        min_score: Smallest score of a peak that may be linked.
        min_links: Animals that fewer pairs hold together are dropped.
        max_overlap: Of two animals that share at least this part of their keypoints' boxes, the weaker is dropped;
            1 keeps both.
        add_discarded: Whether peaks that no animal uses fill the gaps of the nearest one.
        force_fusion: Whether surplus animals are merged into their nearest neighbour that lacks their keypoints.
        clip_scores: Whether scores are limited to 0..1.
        use_calibration: Whether animals must be likely poses, too; needs ``calibration``. DeepLabCut calls this
            calibrating the assembly, and its PyTorch models do without. Surplus animals are then merged where that
            makes them likelier, whatever ``force_fusion`` says.
        calibration: How far the keypoints of labelled animals lie apart; none where nobody measured it.
    """

    edges: tuple[tuple[int, int], ...]
    max_animals: int
    min_affinity: float = 0.05
    min_score: float = 0.1
    min_links: int = 2
    max_overlap: float = 0.8
    add_discarded: bool = False
    force_fusion: bool = False
    clip_scores: bool = False
    use_calibration: bool = False
    calibration: PafCalibration | None = None

    def __post_init__(self) -> None:
        _check_limits(self)
        if self.use_calibration and self.calibration is None:
            raise ConfigError(
                "grouping.use_calibration: the model has no calibration; export it from a project whose training "
                "images show enough complete animals, or leave this false."
            )


@dataclass(frozen=True)
class DekrGrouping:
    """Which of the regressed poses are animals; everything here may change at run time.

    Attributes:
        max_animals: Most animals of a frame; the graph gives a fixed number of poses, some more than the model was
            made for.
        nms_threshold: Keypoints closer than this part of a pose's diagonal coincide.
        apply_pose_nms: Whether poses that coincide with a better one are dropped.
        min_center_score: Only centres above this are animals.
    """

    max_animals: int
    nms_threshold: float = 0.05
    apply_pose_nms: bool = True
    min_center_score: float = 0.0

    def __post_init__(self) -> None:
        _check_limits(self)


def _check_limits(grouping: PafGrouping | DekrGrouping) -> None:
    """Refuse numbers of animals below one, and limits that are negative or no number.

    Raises:
        ConfigError: The first such field.
    """
    for name, value in vars(grouping).items():
        least = 1 if name == "max_animals" else 0
        if isinstance(value, (int, float)) and not value >= least:
            raise ConfigError(f"grouping.{name}: {value:g} makes no sense; give {least} or more.")


Grouping: TypeAlias = PafGrouping | DekrGrouping | None

_GROUPING_OF_TASK: dict[str, type[Any]] = {"paf": PafGrouping, "dekr": DekrGrouping}


@dataclass(frozen=True)
class ModelSpec:
    """Names and decode parameters of a model.

    Attributes:
        task: Which candidates the graph returns, and so which grouping turns them into poses. The frames of the two
            top-down tasks are crops of one animal each.
        architecture: The documented model name, e.g. ``resnet_50``.
        keypoints: K names, in channel order.
        individuals: Names of the animals; their number is the most a frame can hold.
        unique_keypoints: U names of keypoints that exist once per frame, whatever the number of animals.
        skeleton: Pairs of keypoint names to draw; no part in decoding.
        input: Frame (or crop) -> network input.
        crop: How crops are cut out of frames, for the top-down tasks.
        box_margin: Added on each side of the box around an animal's keypoints, for the top-down tasks [frame px]: those
            of its rough pose for the conditional one, those of the last frame where a pair's detector does not look.
        grouping: Parameters of the grouping, for the tasks that have some.
        dense: Per head, the decode parameters that the graph was built with (for the record; the graph has them
            inside).
    """

    task: Task
    architecture: str
    keypoints: tuple[str, ...]
    individuals: tuple[str, ...] = ("individual_1",)
    unique_keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[str, str], ...] = ()
    input: InputSpec = field(default_factory=InputSpec)
    crop: CropSpec | None = None
    box_margin: int = 0
    grouping: PafGrouping | DekrGrouping | None = None
    dense: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        expected = _GROUPING_OF_TASK.get(self.task, type(None))
        if not isinstance(self.grouping, expected):
            raise ConfigError(f"grouping: does not fit the task {self.task}; it needs {expected.__name__} fields.")
        if (self.crop is None) == (self.task in ("top_down", "conditional_top_down")):
            raise ConfigError(f"crop: the top-down tasks need one and no other task has one; the task is {self.task}.")
        if isinstance(self.grouping, PafGrouping):
            beyond = [e for e in self.grouping.edges if not (0 <= min(e) < max(e) < len(self.keypoints))]
            if beyond:
                raise ConfigError(
                    f"grouping.edges: {list(beyond[0])} is no pair of two of the {len(self.keypoints)} keypoints; "
                    "count them from 0."
                )
            measured = self.grouping.calibration
            if measured is not None and measured.keypoints != len(self.keypoints):
                raise ConfigError(
                    f"grouping.calibration: is of {measured.keypoints} keypoints and the model has "
                    f"{len(self.keypoints)}; export the model again."
                )
            pairs = [tuple(sorted(e)) for e in self.grouping.edges]
            if twice := [list(e) for i, e in enumerate(pairs) if e in pairs[:i]]:
                raise ConfigError(
                    f"grouping.edges: the keypoints {twice[0]} are paired twice; list each pair once, in one direction."
                )

    def regrouped(self, **changes: Any) -> ModelSpec:
        """The same model with other grouping parameters, e.g. ``min_affinity=0.1``.

        Raises:
            ConfigError: A parameter that this task's grouping does not have, or a value of another type.
        """
        if self.grouping is None:
            raise ConfigError(f"grouping: the task {self.task} has no parameters to change.")
        known = [known.name for known in fields(self.grouping)]
        if unknown := [name for name in changes if name not in known]:
            raise ConfigError(
                f"grouping.{unknown[0]}: unknown key{suggest(unknown[0], known)}; the task {self.task} has "
                f"{', '.join(known)}."
            )
        changed = to_mapping(self.grouping) | to_mapping(changes)
        return replace(self, grouping=parse(type(self.grouping), changed, where="grouping"))


@dataclass(frozen=True)
class DetectorSpec:
    """What a detector is, apart from its weights, and which of its boxes become animals.

    Attributes:
        input: Frame -> network input.
        max_animals: Most boxes of a frame that a pose is looked for in, the best ones.
        min_score: Boxes that score less are no animals. DeepLabCut has no such limit: whatever its detector gives
            counts, so by default does this one's.
        max_overlap: Of two boxes whose intersection over union is larger, the weaker is dropped; 1 keeps what the
            detector's own suppression leaves, as DeepLabCut does.
        proposals: How many regions the graph of a Faster R-CNN looks at again in each frame, where they are fewer than
            its network would, for the record.
        side: The size that the graph itself brings frames to, where it is not the one that the network was trained
            with, for the record: both sides of an SSDLite's square, the shorter one of a Faster R-CNN [px].
    """

    max_animals: int
    input: InputSpec = field(default_factory=InputSpec)
    min_score: float = 0.0
    max_overlap: float = 1.0
    side: int | None = None
    proposals: int | None = None
