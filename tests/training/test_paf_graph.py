"""Which edges of a part affinity graph are tried and kept, against DeepLabCut's recorded choices."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from rigpose.arrays import Floats
from rigpose.models.model_spec import ModelSpec, PafGrouping
from rigpose_training.evaluation.nearest import nearest_free
from rigpose_training.evaluation.paf_graph import (
    Affinities,
    PeaksAndLabels,
    candidate_graphs,
    collect_affinities,
    measure,
    separability,
)

# (seed, labels, predictions): which prediction DeepLabCut 3.0.2 gives to each label.
DEEPLABCUT_NEAREST = {
    (0, 4, 6): [3, 5, 4, 0],
    (1, 5, 3): [1, -1, 2, 0, -1],
    (2, 3, 3): [0, 2, 1],
    (3, 6, 9): [5, 6, 8, -1, 3, 0],
    (4, 7, 4): [1, -1, -1, 2, 3, 0, -1],
}
# (seed, parts): the graphs that DeepLabCut 3.0.2 tries with the affinities drawn below, and the first edges' areas.
DEEPLABCUT_GRAPHS = {
    (0, 4): ([[5, 1, 3], [0], [2], [4]], [0.966666666667, 0.98375, 0.959375, 0.967916666667]),
    (1, 5): ([[9, 0, 6, 1], [4], [3], [5], [7], [8]], [0.979375, 0.892916666667, None, 0.959791666667]),
    (2, 7): (
        [[13, 11, 15, 5, 9, 10], [20], [18, 2], [12, 4], [17], [8, 6], [16, 0], [3], [14, 19], [7, 1]],
        [0.862916666667, 0.6, 0.951875, 0.825625],
    ),
}
ROUNDED = 1e-12


@pytest.mark.parametrize(("drawn", "expected"), DEEPLABCUT_NEAREST.items())
def test_labels_choose_predictions_as_in_deeplabcut(drawn, expected):
    seed, labels, predictions = drawn
    rng = np.random.default_rng(seed)
    found = nearest_free(rng.uniform(0, 20, (labels, 2)), rng.uniform(0, 20, (predictions, 2)))
    assert found.tolist() == expected


def test_without_predictions_no_label_has_one():
    assert nearest_free(np.ones((2, 2)), np.empty((0, 2))).tolist() == [-1, -1]


def drawn_affinities(seed: int, parts: int) -> tuple[list[tuple[int, int]], Affinities]:
    rng = np.random.default_rng(seed)
    graph = list(itertools.combinations(range(parts), 2))
    within, between = {}, {}
    for e in range(len(graph)):
        good = rng.uniform(0.3, 0.9)
        within[e] = rng.beta(8 * good, 8 * (1 - good), 40).round(3)
        between[e] = rng.beta(2, 6, 60).round(3)
    if seed == 1:
        within[2] = within[2][:0]  # an edge that no labelled animal has
        between[4] = between[4][:0]  # and one on which nothing could be confused
    return graph, Affinities(within, between)


@pytest.mark.parametrize(("drawn", "expected"), DEEPLABCUT_GRAPHS.items())
def test_the_graphs_that_are_tried_are_deeplabcuts(drawn, expected):
    added, areas = expected
    graph, found = drawn_affinities(*drawn)
    assert candidate_graphs(found, graph) == [tuple(edges) for edges in itertools.accumulate(added)]
    for edge, area in enumerate(areas):
        if area is not None:
            value = separability(found.between[edge], found.within[edge])
            if len(found.within[edge]):
                assert value == pytest.approx(areas[edge], abs=ROUNDED)


def test_without_pairs_of_two_animals_no_graph_is_tried():
    graph, found = drawn_affinities(0, 4)
    alone = Affinities(found.within, {e: values[:0] for e, values in found.between.items()})
    assert np.isnan(separability(alone.between[0], alone.within[0]))
    assert candidate_graphs(alone, graph) == []
    assert candidate_graphs(Affinities({}, {}), graph) == []


GRAPH = [(0, 1), (0, 2), (1, 2)]
ANIMALS = np.array([[[10, 10], [30, 10], [30, 40]], [[100, 10], [120, 10], [120, 40]]], float)  # (N, K, 2)


def seen(*, telling: tuple[int, ...], labels: Floats = ANIMALS) -> PeaksAndLabels:
    """Peaks on both animals' parts in turn and one more; only the ``telling`` edges know which belong together."""
    peaks = np.full((3, 4, 3), np.nan)
    peaks[:, :2] = np.concatenate([ANIMALS.swapaxes(0, 1), np.full((3, 2, 1), 0.9)], axis=2)
    peaks[:, 2] = [[200, 200, 0.2]]
    affinity = np.zeros((3, 4, 4))
    for e in range(3):
        affinity[e, :2, :2] = np.array([[0.9, 0.1], [0.1, 0.9]])[:: 1 if e in telling else -1]
    return PeaksAndLabels(peaks, affinity, labels)


def test_affinities_are_sorted_by_whose_peaks_they_join():
    labels = ANIMALS.copy()
    labels[1, 2] = np.nan
    found = collect_affinities(iter([seen(telling=(0, 1)), seen(telling=(0, 1), labels=labels)]), GRAPH)
    # Two animals on two images; the third part of one of them is not labelled on the second image.
    assert {e: len(values) for e, values in found.within.items()} == {0: 4, 1: 3, 2: 3}
    np.testing.assert_array_equal(found.within[0], 0.9)
    np.testing.assert_array_equal(found.within[2], 0.1)
    # Three peaks of each part make nine pairs of an image; the padding makes none.
    assert {e: len(values) for e, values in found.between.items()} == {0: 14, 1: 15, 2: 15}


def test_images_without_labels_or_peaks_say_nothing():
    blank = np.full_like(ANIMALS, np.nan)
    blind = PeaksAndLabels(np.full((3, 4, 3), np.nan), np.zeros((3, 4, 4)), ANIMALS)
    found = collect_affinities(iter([seen(telling=(0,), labels=blank), blind]), GRAPH)
    assert found.within == {} and found.between == {}


def test_the_graph_that_finds_the_animals_wins_and_of_equal_ones_the_smaller():
    def images() -> Iterator[PeaksAndLabels]:
        return iter([seen(telling=(0, 1)), seen(telling=(0, 1))])

    spec = ModelSpec("paf", "drawn", ("a", "b", "c"), ("x", "y"), grouping=PafGrouping(tuple(GRAPH), max_animals=2))
    measured = measure(images(), [(0, 2), (0, 1), (0, 1, 2)], spec, GRAPH)
    assert measured[0].edges == (0, 1)
    assert measured[0].mAP == pytest.approx(100)
    assert measured[-1].edges == (0, 2) and measured[-1].mAP < 60
    assert [m.edges for m in measure(images(), [(0, 1), (1, 0)], spec, GRAPH)] == [(0, 1), (1, 0)]
