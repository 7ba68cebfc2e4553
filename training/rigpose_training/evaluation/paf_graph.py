"""Which pairs of body parts a model with part affinity fields links: as few as find the animals (Lauer et al. 2022).

A new shuffle's graph joins every two body parts. Its first evaluation measures, as DeepLabCut's does, how well each
field tells pairs of one animal from pairs of two, tries smaller graphs, and keeps the best one in the configuration.
"""

from __future__ import annotations

import copy
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from rigpose.arrays import Array, Floats, Frames
from rigpose.grouping import group
from rigpose.measures.metrics import evaluate_poses
from rigpose.models.model_spec import ModelSpec, PafGrouping
from rigpose.models.preprocess import plan
from rigpose.poses import Poses
from rigpose.progress import Progress, silent
from rigpose.schema import parse
from rigpose_training.data.labelled import LabelledImage
from rigpose_training.data.loaders import Loader
from rigpose_training.dense.paf import PartAffinityFieldPredictor
from rigpose_training.evaluation.frames import read_frame
from rigpose_training.evaluation.nearest import nearest_free
from rigpose_training.models import PoseModel
from rigpose_training.pose_config.files import read_mapping, update, write_mapping, write_pose_config
from rigpose_training.torch_session import torch_analyzer

LOG = logging.getLogger(__name__)
GRAPHS = 10
"""Graphs that are tried, from the smallest that joins all parts up to all pairs."""
BINS = np.linspace(0, 1, 101)
"""Of the affinities' histograms."""
PEAKS = 16
MOST_PEAKS = 128
"""Peaks of a part that are looked at, the best ones: at first so many, in frames with more up to the second number."""
PREDICTOR = "model.heads.bodypart.predictor"

Edge = tuple[int, int]


@dataclass(frozen=True)
class MeasuredGraph:
    """A graph that was tried.

    Attributes:
        edges: Indices into the whole graph.
        mAP: On the test images [0, 100].
        mAR: Likewise.
    """

    edges: tuple[int, ...]
    mAP: float  # noqa: N815 (the names everybody reads)
    mAR: float  # noqa: N815


@dataclass(frozen=True)
class Affinities:
    """Affinities of pairs of peaks by edge: of one animal's, and of all others."""

    within: dict[int, Floats]
    between: dict[int, Floats]


def prune_paf_graph(loader: Loader, model: PoseModel, *, show: Progress = silent) -> list[MeasuredGraph]:
    """Choose the edges of a shuffle's graph, unless that was done before, and write them into its configuration.

    ``loader.model_cfg`` and its file get ``edges_to_keep``, ``test/pose_cfg.yaml`` gets DeepLabCut's ``paf_best``.

    Args:
        loader: Its train images tell how good each edge is, its test images how good each graph.
        model: The network with the weights to measure.
        show: How progress is shown.

    Returns:
        The graphs that were tried, the best first; none where the graph stays as it is: it is no affinity model's, it
        was cut before, or the labels do not tell.
    """
    predictor = _predictor(loader.model_cfg)
    if predictor is None or len(predictor.edges_to_keep) < len(predictor.graph):
        return []
    graph = predictor.graph
    reader = CandidateReader(model, loader.model_cfg)
    with show("Affinities of all pairs", len(loader.images("train")), "images") as advance:
        found = collect_affinities(_frames(reader, loader.images("train"), advance), graph)
    graphs = candidate_graphs(found, graph)
    labelled = any(not np.isnan(image.xy).all() for image in loader.images("test"))
    if not graphs or not labelled:
        LOG.warning(
            "%s: the PAF graph keeps all of its %d edges, because too few labelled animals tell which to drop.",
            loader.model_config_path,
            len(graph),
        )
        return []
    with show("Smaller graphs", len(loader.images("test")), "images") as advance:
        measured = measure(_frames(reader, loader.images("test"), advance), graphs, reader.spec, graph)
    _write(loader, measured[0].edges)
    LOG.info(
        "%s: kept %d of %d edges of the PAF graph, with mAP %.1f on the test images.",
        loader.model_config_path,
        len(measured[0].edges),
        len(graph),
        measured[0].mAP,
    )
    return measured


@dataclass(frozen=True)
class PeaksAndLabels:
    """One labelled image as a network sees it.

    Attributes:
        peaks: (K, P, 3) x, y [frame px], score, NaN for no peak.
        affinity: (L, P, P) of every edge of the whole graph.
        labels: (N, K, 2) x, y [frame px], NaN where not labelled.
    """

    peaks: Floats
    affinity: Floats
    labels: Floats


class CandidateReader:
    """Peaks and affinities of a network's whole graph, with as many peaks as a frame has."""

    def __init__(self, model: PoseModel, config: Mapping[str, Any]) -> None:
        self._model = model
        self._config = config
        self._peaks = PEAKS
        self._open()

    def _open(self) -> None:
        config = copy.deepcopy(dict(self._config))
        predictor = config["model"]["heads"]["bodypart"]["predictor"]
        predictor["peaks_per_animal"] = -(-self._peaks // predictor["num_animals"])
        self._analyzer = torch_analyzer(self._model, config)

    @property
    def spec(self) -> ModelSpec:
        """Of the network."""
        return self._analyzer.spec

    def read(self, frame: Frames, labels: Floats) -> PeaksAndLabels:
        """The candidates of one frame."""
        while True:
            preparation = plan(self.spec.input, *frame.shape[:2])
            batch = np.empty((1, *preparation.input_size, 3), np.uint8)
            preparation.write(frame, out=batch[0])
            found = self._analyzer.infer(batch)
            peaks = found["peaks"][0]
            if np.isnan(peaks[..., 0]).any(axis=1).all() or self._peaks >= MOST_PEAKS:
                break
            self._peaks *= 2
            self._open()
        xy = preparation.to_frame.apply(peaks[..., :2])
        return PeaksAndLabels(np.concatenate([xy, peaks[..., 2:]], axis=2), found["affinity"][0], labels)


def collect_affinities(images: Iterator[PeaksAndLabels], graph: Sequence[Edge]) -> Affinities:
    """Sort the affinities of all pairs of peaks by whether both stand for labels of one animal."""
    within: dict[int, list[Floats]] = defaultdict(list)
    between: dict[int, list[Floats]] = defaultdict(list)
    for image in images:
        there = ~np.isnan(image.peaks[..., 0])  # (K, P)
        labels = image.labels.swapaxes(0, 1)  # (K, N, 2)
        peak_of = [_peaks_of_animals(*each) for each in zip(image.peaks, there, labels, strict=True)]
        for e, (source, target) in enumerate(graph):
            one, other = peak_of[source], peak_of[target]
            if one is None or other is None:
                continue
            same = np.zeros(image.affinity.shape[1:], bool)
            both = (one >= 0) & (other >= 0)
            same[one[both], other[both]] = True
            pairs = there[source][:, None] & there[target][None]
            within[e].append(image.affinity[e][pairs & same])
            between[e].append(image.affinity[e][pairs & ~same])
    return Affinities(*({e: np.concatenate(values) for e, values in kind.items()} for kind in (within, between)))


def candidate_graphs(found: Affinities, graph: Sequence[Edge]) -> list[tuple[int, ...]]:
    """Graphs worth trying, the smallest first; none where no edge can be judged.

    The smallest joins the body parts by the most telling edges (a maximum spanning tree); the others add the next
    most telling ones in steps of one size.
    """
    edges = sorted(e for e, values in found.within.items() if len(values))
    scores = np.array([separability(found.between[e], found.within[e]) for e in edges])
    tree = _spanning_tree([graph[e] for e in edges], scores)
    if not tree:
        return []
    root = [edges[i] for i in tree]
    # As in DeepLabCut, edges on which nothing could be confused (NaN) come first.
    rest = [edges[i] for i in np.argsort(scores)[::-1] if edges[i] not in root]
    steps = np.linspace(0, len(rest), min(GRAPHS, len(rest) + 1), dtype=int)
    return [tuple(root + rest[:count]) for count in steps]


def separability(between: Floats, within: Floats) -> float:
    """How well affinities tell pairs of one animal from others: the area under the ROC curve [0, 1], NaN for none.

    From histograms of a hundredth, as in DeepLabCut; affinities above 1 have no place in them.
    """
    left, right = (np.histogram(values, bins=BINS)[0] for values in (between, within))
    if not left.sum() or not right.sum():
        return float("nan")
    false, true = np.cumsum(left / left.sum()), np.cumsum(right / right.sum())
    return float(((false[1:] + false[:-1]) / 2 * np.diff(true)).sum())


def measure(
    images: Iterator[PeaksAndLabels], graphs: Sequence[tuple[int, ...]], spec: ModelSpec, graph: Sequence[Edge]
) -> list[MeasuredGraph]:
    """The graphs by falling mAP on some images; of equal ones, the smaller first."""
    grouping = cast(PafGrouping, spec.grouping)
    specs = [replace(spec, grouping=replace(grouping, edges=tuple(graph[e] for e in g))) for g in graphs]
    found: list[list[Poses]] = [[] for _ in graphs]
    truth = []
    for image in images:
        truth.append(image.labels)
        for poses_out, edges, smaller in zip(found, graphs, specs, strict=True):
            candidates = {"peaks": image.peaks[None], "affinity": image.affinity[list(edges)][None]}
            poses_out.extend(group(smaller, candidates))
    metrics = [evaluate_poses(poses, truth) for poses in found]
    measured = [MeasuredGraph(g, m.mAP, m.mAR) for g, m in zip(graphs, metrics, strict=True)]
    return sorted(measured, key=lambda graph: -graph.mAP)


def _predictor(config: Mapping[str, Any]) -> PartAffinityFieldPredictor | None:
    section = config["model"]["heads"]["bodypart"]["predictor"]
    if section.get("type") != "PartAffinityFieldPredictor":
        return None
    return parse(PartAffinityFieldPredictor, section, where=PREDICTOR)


def _frames(reader: CandidateReader, images: Sequence[LabelledImage], advance: Any) -> Iterator[PeaksAndLabels]:
    for image in images:
        yield reader.read(read_frame(image.path), image.xy)
        advance(1)


def _peaks_of_animals(peaks: Floats, there: Array, labels: Floats) -> Array | None:
    """(N,) the peak (P, 3) that stands for each animal's label (N, 2) of a part, -1 for none; none without any."""
    labelled, found = np.flatnonzero(np.isfinite(labels).all(axis=1)), np.flatnonzero(there)
    if not len(labelled) or not len(found):
        return None
    partner = nearest_free(labels[labelled], peaks[found, :2])
    peak = np.full(len(labels), -1)
    peak[labelled[partner >= 0]] = found[partner[partner >= 0]]
    return peak


def _spanning_tree(edges: Sequence[Edge], weights: Floats) -> list[int]:
    """Indices of the edges of the heaviest tree (Kruskal 1956), the heaviest first; NaN edges are none.

    Of equal edges the one whose first part appeared earlier wins, the order in which DeepLabCut meets them.
    """
    usable = [i for i in range(len(edges)) if np.isfinite(weights[i])]
    seen = {part: place for place, part in enumerate(dict.fromkeys(p for i in usable for p in edges[i]))}
    usable.sort(key=lambda i: (-weights[i], min(seen[p] for p in edges[i]), i))
    tree_of = {part: {part} for part in seen}
    chosen = []
    for i in usable:
        one, other = (tree_of[part] for part in edges[i])
        if one is not other:
            chosen.append(i)
            one |= other
            tree_of.update(dict.fromkeys(other, one))
    return chosen


def _write(loader: Loader, edges: Sequence[int]) -> None:
    loader.model_cfg = update(loader.model_cfg, {f"{PREDICTOR}.edges_to_keep": list(edges)})
    write_pose_config(loader.model_config_path, loader.model_cfg)
    legacy = loader.model_folder.parent / "test" / "pose_cfg.yaml"
    if legacy.is_file():
        write_mapping(legacy, read_mapping(legacy) | {"paf_best": list(edges)})
