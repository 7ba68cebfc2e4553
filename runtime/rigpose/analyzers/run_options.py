"""What may be chosen anew each time a model runs, within what its graphs give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from rigpose.analyzers.patch_search import PatchSearch, check_searchable
from rigpose.analyzers.tracking_crop import DynamicCrop, check_followable
from rigpose.errors import ConfigError
from rigpose.models.model_spec import DetectorSpec, ModelSpec

MOST_BETWEEN_DETECTIONS = 100
"""So many whole frames are in memory three times over while a video is analysed."""


@dataclass(frozen=True)
class RunOptions:
    """Choices for one run of a model; a choice that its task does not have is refused.

    Attributes:
        max_animals: Most animals of a frame; none for the model's own number.
        detector_cutoff: Boxes that score less are no animals (top-down pairs); none for the model's own.
        detect_every: In videos, the detector looks at every so manieth frame; between them an animal is looked for
            around its last pose (top-down pairs).
        grouping: Other values for the fields of ``PafGrouping`` or ``DekrGrouping``; of a conditional model, for
            those of the model that finds its rough poses.
        detector_iou: Of two boxes with a larger intersection over union, the weaker is dropped before a pose is looked
            for in it (top-down pairs); none for the model's own, mostly what its detector's own suppression leaves.
        same_animal: Of two poses of a frame with this object keypoint similarity or more, the one whose box or rough
            pose scores less is dropped (both top-down tasks). None keeps all, as DeepLabCut does, except in frames
            without detection; see ``rigpose.analyzers.top_down.FOLLOWED_TWICE``.
        combined: Run the bundle's combined graph in place of detector and pose graph (top-down pairs).
        dynamic_crop: In videos, how a search region follows the animal (models of one animal that see whole frames);
            none to look at every frame as a whole.
        patch_search: How the animal is found where a top-down model has no detector (models of one animal); none to
            refuse such a model.
    """

    max_animals: int | None = None
    detector_cutoff: float | None = None
    detect_every: int = 1
    grouping: Mapping[str, Any] = field(default_factory=dict)
    detector_iou: float | None = None
    same_animal: float | None = None
    combined: bool = False
    dynamic_crop: DynamicCrop | None = None
    patch_search: PatchSearch | None = None

    def __post_init__(self) -> None:
        if self.max_animals is not None and self.max_animals < 1:
            raise ConfigError(f"max_animals: {self.max_animals} animals cannot be found; give 1 or more.")
        if self.detector_cutoff is not None and not 0 <= self.detector_cutoff <= 1:
            raise ConfigError(f"detector_cutoff: {self.detector_cutoff:g} is no score; give a number from 0 to 1.")
        if self.detector_iou is not None and not 0 <= self.detector_iou <= 1:
            raise ConfigError(f"detector_iou: {self.detector_iou:g} is no overlap; give a number from 0 to 1.")
        if self.same_animal is not None and not 0 < self.same_animal <= 1:
            raise ConfigError(f"same_animal: {self.same_animal:g} is no similarity; give a number above 0 up to 1.")
        if not 1 <= self.detect_every <= MOST_BETWEEN_DETECTIONS:
            raise ConfigError(
                f"detect_every: {self.detect_every} is not from 1 to {MOST_BETWEEN_DETECTIONS}; all frames between "
                "two detections are in memory at once."
            )
        if self.combined and self.detect_every != 1:
            raise ConfigError("combined: the graph looks for boxes in every frame; leave out combined or detect_every.")
        if self.max_animals is not None and "max_animals" in self.grouping:
            raise ConfigError("max_animals: is given twice, by itself and in the grouping; leave one of them out.")

    def frame_model(self, spec: ModelSpec) -> ModelSpec:
        """A model of whole frames as this run wants it.

        Raises:
            ConfigError: A choice that the model does not have.
        """
        self._refuse_detection(spec)
        self._refuse_patches(spec)
        if self.dynamic_crop is not None:
            check_followable(spec)
        if self.same_animal is not None:
            raise ConfigError(
                f"same_animal: a model of the task {spec.task} finds its animals all at once; leave it out."
            )
        changes = dict(self.grouping)
        if self.max_animals is not None:
            if spec.grouping is None:
                raise ConfigError(f"max_animals: a model of the task {spec.task} finds one animal; leave it out.")
            changes["max_animals"] = self.max_animals
        return spec.regrouped(**changes) if changes else spec

    def detector(self, spec: DetectorSpec) -> DetectorSpec:
        """A top-down pair's detector as this run wants it.

        Raises:
            ConfigError: Grouping parameters or dynamic cropping, which a pair does not have.
        """
        if self.dynamic_crop is not None:
            raise ConfigError(
                "crop dynamic: a pair's detector finds the animals; leave it out, and see detect_every for a detector "
                "that looks at some frames only."
            )
        if self.patch_search is not None:
            raise ConfigError("search patches: a pair's detector finds the animals; leave it out.")
        self._refuse_grouping()
        return replace(
            spec,
            max_animals=spec.max_animals if self.max_animals is None else self.max_animals,
            min_score=spec.min_score if self.detector_cutoff is None else self.detector_cutoff,
            max_overlap=spec.max_overlap if self.detector_iou is None else self.detector_iou,
        )

    def search(self, spec: ModelSpec) -> PatchSearch | None:
        """How this run finds the animal of a top-down model without a detector; none if it does not.

        Raises:
            ConfigError: A choice that such a model does not have.
        """
        if self.patch_search is None:
            return None
        check_searchable(spec)
        self._refuse_detection(spec)
        self._refuse_grouping()
        if self.dynamic_crop is not None:
            raise ConfigError("crop dynamic: search patches already follows the animal; leave it out.")
        if self.same_animal is not None or (self.max_animals or 1) > 1:
            name = "max_animals" if self.same_animal is None else "same_animal"
            raise ConfigError(f"{name}: search patches finds one animal; leave it out.")
        return self.patch_search

    def rough_poses(self, spec: ModelSpec, own: ModelSpec) -> ModelSpec:
        """The model ``spec`` that finds the rough poses of the conditional model ``own``, as this run wants it.

        Raises:
            ConfigError: A choice that neither has.
        """
        self._refuse_detection(own)
        self._refuse_patches(own)
        if self.dynamic_crop is not None:
            check_followable(own)
        options = replace(self, same_animal=None)
        if spec.grouping is None:
            options = replace(options, max_animals=None)
        return options.frame_model(spec)

    def _refuse_patches(self, spec: ModelSpec) -> None:
        if self.patch_search is not None:
            check_searchable(spec)

    def _refuse_grouping(self) -> None:
        if self.grouping:
            raise ConfigError(f"grouping.{next(iter(self.grouping))}: the task top_down has no parameters to change.")

    def _refuse_detection(self, spec: ModelSpec) -> None:
        chosen = {
            "detector_cutoff": self.detector_cutoff is not None,
            "detect_every": self.detect_every != 1,
            "detector_iou": self.detector_iou is not None,
            "combined": self.combined,
        }
        for name, given in chosen.items():
            if given:
                raise ConfigError(f"{name}: a model of the task {spec.task} has no detector; leave it out.")
