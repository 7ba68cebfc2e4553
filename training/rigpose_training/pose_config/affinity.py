"""Part affinity fields: the graph of bodypart pairs, and the head that predicts them (Cao et al. 2017)."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from rigpose_training.pose_config.heads import LOCREF_STD, RADIUS, deconvolutions
from rigpose_training.pose_config.model import Metadata

MOST_EDGES = 105
"""From this many pairs on (15 bodyparts), a full graph costs more than it helps (Lauer et al. 2022, fig. S9)."""

DEGREE = 6
"""Mean number of edges per bodypart in a thinned graph."""

SEED = 42


def affinity_graph(keypoints: int) -> list[list[int]]:
    """E pairs i < j of bodyparts whose connection the network learns.

    Every pair, or of many bodyparts a random connected part of them, which is the same for the same number of
    bodyparts whenever and wherever it is drawn.
    """
    pairs = np.array(list(combinations(range(keypoints), 2)), dtype=np.int64).reshape(-1, 2)
    if len(pairs) < MOST_EDGES:
        return pairs.tolist()
    rng = np.random.default_rng(SEED)
    edges = math.ceil(DEGREE * keypoints / 2)
    while True:
        chosen = pairs[np.sort(rng.choice(len(pairs), edges, replace=False))]
        if _is_connected(chosen, keypoints):
            return chosen.tolist()


def _is_connected(edges: np.ndarray, keypoints: int) -> bool:
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(keypoints, keypoints))
    return connected_components(graph, directed=False, return_labels=False) == 1


def affinity_head(
    metadata: Metadata,
    *channels: int,
    predictor_options: dict[str, Any] | None = None,
    target_options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """K heat maps, 2 K offsets and 2 E fields, refined in five stages.

    Args:
        metadata: Bodyparts and individuals.
        *channels: Of the features and between the deconvolutions.
        predictor_options: What this model's predictor states beyond the shared settings.
        target_options: What its heat maps' target states beyond them.
    """
    keypoints = len(metadata.bodyparts)
    graph = affinity_graph(keypoints)
    return {
        "type": "DLCRNetHead",
        "predictor": {
            "type": "PartAffinityFieldPredictor",
            "num_animals": len(metadata.individuals),
            "num_multibodyparts": keypoints,
            "num_uniquebodyparts": 0,
            "nms_radius": 5,
            "sigma": 1.0,
            "locref_stdev": LOCREF_STD,
            "min_affinity": 0.05,
            "graph": graph,
            "edges_to_keep": list(range(len(graph))),
            **(predictor_options or {}),
        },
        "target_generator": {
            "type": "SequentialGenerator",
            "generators": [
                {
                    "type": "HeatmapPlateauGenerator",
                    "num_heatmaps": keypoints,
                    "pos_dist_thresh": RADIUS,
                    "heatmap_mode": "KEYPOINT",
                    **(target_options or {}),
                    "generate_locref": True,
                    "locref_std": LOCREF_STD,
                },
                {"type": "PartAffinityFieldGenerator", "graph": [list(edge) for edge in graph], "width": 20},
            ],
        },
        "criterion": {
            "heatmap": {"type": "WeightedBCECriterion", "weight": 1.0},
            "locref": {"type": "WeightedHuberCriterion", "weight": 0.05},
            "paf": {"type": "WeightedHuberCriterion", "weight": 0.1},
        },
        "heatmap_config": deconvolutions(*channels, keypoints),
        "locref_config": deconvolutions(*channels, 2 * keypoints),
        "paf_config": deconvolutions(*channels, 2 * len(graph)),
        "num_stages": 5,
    }
