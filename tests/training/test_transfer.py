"""After a transfer a keypoint's maps are the source's, wherever the keypoint stands in either network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference_weights import fill, network_input
from small_networks import FAMILIES, SIZE, small_config

from rigpose.errors import ConfigError, SnapshotError
from rigpose_training.engine.snapshots import read_snapshot
from rigpose_training.engine.transfer import Counterparts, Numbers, transfer
from rigpose_training.models import PoseModel, build_model
from rigpose_training.pose_config.files import read_pose_config

SOURCE = ("nose", "ear", "tail", "hip")
PERMUTED = ("tail", "nose", "hip", "ear")
OTHER = ("ear", "wing", "nose")  # two of the source's, and one of its own
# Of each map's spread: float32, and sums over other channels may run in another order.
RELATIVE = 1e-5
SWAPPED = 1e-2  # maps of different keypoints differ by far more

Maps = dict[str, dict[str, torch.Tensor]]

pytestmark = pytest.mark.usefixtures("one_thread")


def numbers(names: Sequence[str], source: Sequence[str] = SOURCE) -> Numbers:
    return tuple(source.index(name) if name in source else None for name in names)


def graph(config: Mapping[str, Any]) -> tuple[tuple[int, int], ...]:
    edges = config["model"]["heads"]["bodypart"]["predictor"].get("graph", ())
    return tuple((a, b) for a, b in edges)


def built(config: Mapping[str, Any], salt: str) -> PoseModel:
    model = build_model(config).eval()
    fill(model, salt)
    return model


def conditions(names: Sequence[str]) -> torch.Tensor:
    """One rough pose per image (B, K, 3): a keypoint's place depends on its name, and wings are not seen."""
    places = {"nose": (20, 12, 1), "ear": (44, 30, 1), "tail": (9, 51, 0), "hip": (33, 47, 0), "wing": (5, 5, 0)}
    return torch.tensor([[places[name] for name in names]] * 2, dtype=torch.float32)


@torch.inference_mode()
def run(model: PoseModel, names: Sequence[str]) -> Maps:
    images = network_input([2, 3, SIZE, SIZE], seed=3)
    return model(images, conditions(names)) if model.conditional else model(images)


def by_name(maps: Mapping[str, torch.Tensor], names: Sequence[str], edges: Sequence[Sequence[int]]) -> dict[Any, Any]:
    """Every keypoint's and edge's own maps; a field is stored from the end whose name is first in the alphabet."""
    found: dict[Any, torch.Tensor] = {}
    for kind, values in maps.items():
        if kind == "paf":
            for (a, b), field in zip(edges, values.unflatten(1, (-1, 2)).unbind(1), strict=True):
                ends = tuple(sorted((names[a], names[b])))
                found[kind, ends] = field if ends[0] == names[a] else -field
            continue
        width = 2 if kind in ("locref", "offset") else 1
        with_centre = [*names, "centre"] if kind == "heatmap" and "offset" in maps else names
        for name, values_of_one in zip(with_centre, values.unflatten(1, (-1, width)).unbind(1), strict=True):
            found[kind, name] = values_of_one
    return found


def difference(ours: dict[Any, torch.Tensor], theirs: dict[Any, torch.Tensor], keys: Sequence[Any]) -> float:
    """The largest over ``keys``, relative to the spread of each map."""
    return max(float((ours[key] - theirs[key]).abs().max() / (np.ptp(theirs[key].numpy()) + 1e-12)) for key in keys)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_with_its_keypoints_in_another_order_gives_the_same_maps(family: str) -> None:
    theirs, ours = small_config(family, SOURCE), small_config(family, PERMUTED)
    source = built(theirs, "source")
    expected = by_name(run(source, SOURCE)["bodypart"], SOURCE, graph(theirs))
    counterparts = Counterparts(numbers(PERMUTED), graph=graph(theirs))
    for shift in (0, 1):
        model = built(ours, "target")
        given = replace(counterparts, bodyparts=counterparts.bodyparts[shift:] + counterparts.bodyparts[:shift])
        assert transfer(model, source.state_dict(), given, heads=True, source="a.pt") == []
        found = by_name(run(model, PERMUTED)["bodypart"], PERMUTED, graph(ours))
        assert found.keys() == expected.keys()
        worst = difference(found, expected, list(expected))
        # A map that is wrong by one must not pass.
        assert worst < RELATIVE if shift == 0 else worst > SWAPPED


MIXING = ("paf", "paf, two deconvolutions", "simcc", "tokens", "coam")  # a keypoint's maps depend on other keypoints


@pytest.mark.parametrize("family", [family for family in FAMILIES if family not in MIXING])
def test_shared_keypoints_give_the_same_maps_and_others_keep_their_first_weights(family: str) -> None:
    theirs, ours = small_config(family, SOURCE), small_config(family, OTHER)
    source, model, untouched = built(theirs, "source"), built(ours, "target"), built(ours, "target")
    counterparts = Counterparts(numbers(OTHER), graph=graph(theirs))
    lost = transfer(model, source.state_dict(), counterparts, heads=True, source="a.pt")
    assert lost == (["2 of 3 fields of heads.bodypart"] if family.startswith("paf") else [])
    transfer(untouched, source.state_dict(), counterparts, heads=False, source="a.pt")
    expected = by_name(run(source, SOURCE)["bodypart"], SOURCE, graph(theirs))
    own = by_name(run(untouched, OTHER)["bodypart"], OTHER, graph(ours))
    found = by_name(run(model, OTHER)["bodypart"], OTHER, graph(ours))
    shared = [key for key in found if key in expected]
    assert {key[1] for key in shared} >= {"nose", "ear"}
    assert difference(found, expected, shared) < RELATIVE
    assert difference(own, expected, shared) > SWAPPED
    if family in ("heatmap", "heatmap, convolution alone"):  # no layer is shared with the wing
        assert difference(found, own, [key for key in found if key[1] == "wing"]) < RELATIVE


def silenced(model: PoseModel, layers: Mapping[str, Sequence[int]]) -> None:
    """Set channels of layers' outputs to zero."""
    state = dict(model.named_modules())
    with torch.no_grad():
        for name, channels in layers.items():
            layer = state[f"heads.bodypart.{name}"]
            weight, bias = layer.parameters()
            outputs = weight.transpose(0, 1) if isinstance(layer, torch.nn.ConvTranspose2d) else weight
            outputs[list(channels)] = 0
            bias[list(channels)] = 0


def test_what_refinement_makes_of_shared_keypoints_is_the_same_where_others_are_silent() -> None:
    """With stages every map is made of all maps; silent ones add nothing, so the shared ones must come out equal."""
    theirs, ours = small_config("paf", SOURCE), small_config("paf", OTHER)
    source, model = built(theirs, "source"), built(ours, "target")
    lost = [i for i, edge in enumerate(graph(theirs)) if edge != (0, 1)]
    channels = {"convt1": [2, 3], "convt2": [4, 5, 6, 7], "convt3": [2 * i + j for i in lost for j in (0, 1)]}
    for stage in (0, 1):
        channels |= {f"hm_ref_layers.{stage}": [2, 3], f"paf_ref_layers.{stage}": channels["convt3"]}
    silenced(source, channels)
    model.load_state_dict({k: v * ("heads." not in k) for k, v in model.state_dict().items()})
    transfer(model, source.state_dict(), Counterparts(numbers(OTHER), graph=graph(theirs)), heads=True, source="a.pt")
    expected = by_name(run(source, SOURCE)["bodypart"], SOURCE, graph(theirs))
    found = by_name(run(model, OTHER)["bodypart"], OTHER, graph(ours))
    shared = [(kind, name) for kind in ("heatmap", "locref") for name in ("nose", "ear")] + [("paf", ("ear", "nose"))]
    assert difference(found, expected, shared) < RELATIVE


def test_attention_among_shared_keypoints_is_the_same_where_others_are_silent() -> None:
    source, model = (built(small_config("simcc", names), salt) for names, salt in ((SOURCE, "s"), (OTHER, "t")))
    silenced(source, {"final_layer": [2, 3]})
    silenced(model, {"final_layer": [0, 1, 2]})
    transfer(model, source.state_dict(), Counterparts(numbers(OTHER)), heads=True, source="a.pt")
    expected, found = (by_name(run(m, n)["bodypart"], n, ()) for m, n in ((source, SOURCE), (model, OTHER)))
    shared = [(axis, name) for axis in "xy" for name in ("nose", "ear")]
    assert difference(found, expected, shared) < RELATIVE


def test_tokens_of_shared_keypoints_are_the_sources() -> None:
    """Of a subset nothing more can be equal: every token attends to all others."""
    source, model = (built(small_config("tokens", names), salt) for names, salt in ((SOURCE, "s"), (OTHER, "t")))
    first = model.state_dict()["neck.keypoint_token"].clone()
    transfer(model, source.state_dict(), Counterparts(numbers(OTHER)), heads=False, source="a.pt")
    tokens, theirs = model.state_dict()["neck.keypoint_token"], source.state_dict()["neck.keypoint_token"]
    torch.testing.assert_close(tokens[:, [0, 2]], theirs[:, [1, 0]], rtol=0, atol=0)
    torch.testing.assert_close(tokens[:, 1], first[:, 1], rtol=0, atol=0)


def test_unique_bodyparts_and_individuals_go_by_name_too() -> None:
    theirs = small_config("heatmap", SOURCE, unique=("door", "lamp"), individuals=("anna", "bert", "carl"))
    ours = small_config("heatmap", OTHER, unique=("lamp", "bowl"), individuals=("carl", "anna"))
    source, model = built(theirs, "source"), built(ours, "target")
    first = {key: value.clone() for key, value in model.state_dict().items()}
    counterparts = Counterparts(numbers(OTHER), unique_bodyparts=(1, None), individuals=(2, 0))
    assert transfer(model, source.state_dict(), counterparts, heads=True, source="a.pt") == []
    expected, found = run(source, SOURCE), run(model, OTHER)
    for head, ours_, theirs_ in (("unique_bodypart", [0], [1]), ("identity", [0, 1], [2, 0])):
        torch.testing.assert_close(found[head]["heatmap"][:, ours_], expected[head]["heatmap"][:, theirs_])
    torch.testing.assert_close(found["unique_bodypart"]["locref"][:, :2], expected["unique_bodypart"]["locref"][:, 2:])
    bowl = "heads.unique_bodypart.locref_head.deconv_layers.0.weight"
    torch.testing.assert_close(model.state_dict()[bowl][:, 2:], first[bowl][:, 2:], rtol=0, atol=0)


def test_heads_and_layers_that_the_source_lacks_begin_anew_and_are_named() -> None:
    theirs = small_config("heatmap", SOURCE)
    del theirs["model"]["heads"]["bodypart"]["locref_config"]
    source, model = built(theirs, "s"), built(small_config("heatmap", SOURCE, unique=("door",)), "t")
    first = {key: value.clone() for key, value in model.state_dict().items()}
    counterparts = Counterparts(numbers(SOURCE), unique_bodyparts=(None,))
    absent = transfer(model, source.state_dict(), counterparts, heads=True, source="a.pt")
    layers = ["heads.bodypart.locref_head", "heads.unique_bodypart.heatmap_head", "heads.unique_bodypart.locref_head"]
    assert absent == layers
    for key, value in model.state_dict().items():
        same = first if key.startswith(tuple(layers)) else source.state_dict()
        torch.testing.assert_close(value, same[key], rtol=0, atol=0)


def test_a_transposed_convolution_of_one_pixel_begins_a_convolution_and_the_other_way_round() -> None:
    """SuperAnimal's HRNet ends in the one, the shuffles of DeepLabCut in the other."""
    plain, transposed = (small_config("heatmap, convolution alone", names) for names in (PERMUTED, SOURCE))
    for name, maps in (("heatmap_config", 4), ("locref_config", 8)):
        section = {"channels": [96, maps], "kernel_size": [1], "strides": [1]}
        transposed["model"]["heads"]["bodypart"][name] = section
    for theirs, ours, names, here in (
        (transposed, plain, SOURCE, PERMUTED),
        (plain, transposed, PERMUTED, SOURCE),
    ):
        source, model = built(theirs, "source"), built(ours, "target")
        transfer(model, source.state_dict(), Counterparts(numbers(here, names)), heads=True, source="a.pt")
        expected, found = (
            by_name(run(source, names)["bodypart"], names, ()),
            by_name(run(model, here)["bodypart"], here, ()),
        )
        assert difference(found, expected, list(expected)) < RELATIVE


@pytest.mark.parametrize(
    ("family", "source", "heads", "says"),
    [
        ("coam", "heatmap", True, r"a.pt: its backbone is another one .*create the shuffle with the net_type"),
        ("tokens", "heatmap", False, r"its backbone is another one .*neck.keypoint_token is missing"),
        ("heatmap", "dekr", True, r"its heads are of another kind .*--backbone-only"),
        ("paf", "heatmap", True, r"heatmap_head.deconv_layers.0.weight is 96 x 4 x 3 x 3 in the file"),
        ("simcc", "heatmap", True, r"heads.bodypart has no layer in common"),
        ("heatmap", "heatmap, two deconvolutions", True, r"its heads are of another kind"),
    ],
)
def test_other_networks_are_refused_in_a_sentence(family: str, source: str, says: str, *, heads: bool) -> None:
    model = build_model(small_config(family, SOURCE))
    first = {key: value.clone() for key, value in model.state_dict().items()}
    weights = build_model(small_config(source, SOURCE)).state_dict()
    with pytest.raises(SnapshotError, match=says):
        transfer(model, weights, Counterparts(numbers(SOURCE)), heads=heads, source="a.pt")
    assert all(torch.equal(value, first[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("family", ["heatmap", "dekr", "simcc"])
def test_the_backbone_of_one_kind_of_head_begins_another(family: str) -> None:
    source, model = built(small_config("paf", SOURCE), "s"), built(small_config(family, OTHER), "t")
    first = {key: value.clone() for key, value in model.state_dict().items()}
    transfer(model, source.state_dict(), Counterparts((None,) * 3), heads=False, source="a.pt")
    for key, value in model.state_dict().items():
        expected = source.state_dict()[key] if key.startswith("backbone.") else first[key]
        torch.testing.assert_close(value, expected, rtol=0, atol=0)


def test_numbers_and_names_that_do_not_fit_the_file_are_refused() -> None:
    model, weights = build_model(small_config("dekr", OTHER)), build_model(small_config("dekr", SOURCE)).state_dict()
    for wrong in (4, -1):
        with pytest.raises(
            SnapshotError, match=f"has 4 keypoints in heads.bodypart, and none of them has number {wrong}"
        ):
            transfer(model, weights, Counterparts((0, wrong, None)), heads=True, source="a.pt")
    with pytest.raises(SnapshotError, match="has 4 keypoints, and not the 27 that its names are for"):
        transfer(model, weights, Counterparts((0, 1, None), named=27), heads=True, source="a.pt")


def test_deeplabcuts_trained_snapshot_goes_on_under_another_order_of_names(golden: Path) -> None:
    folder = golden / "snapshots" / "openfield_resnet_50"
    config = read_pose_config(folder / "pytorch_config.yaml")
    theirs = config["metadata"]["bodyparts"]
    names = ["whisker", *theirs[::-1]]
    head = config["model"]["heads"]["bodypart"]
    head["heatmap_config"]["channels"][-1], head["locref_config"]["channels"][-1] = 5, 10
    model = build_model(config).eval()
    weights = read_snapshot(folder / "snapshot-130.pt")["model"]
    transfer(model, weights, Counterparts(numbers(names, theirs)), heads=True, source="a.pt")
    with np.load(folder / "golden000.npz") as recorded, torch.inference_mode():
        maps = model(torch.from_numpy(recorded["input"]))["bodypart"]
        expected = {kind: torch.from_numpy(recorded[f"raw.bodypart.{kind}"]) for kind in ("heatmap", "locref")}
    found = by_name(maps, names, ())
    # Of each map's spread; another order of float32 sums than DeepLabCut's, as between any two machines.
    assert difference(found, by_name(expected, theirs, ()), [(k, n) for k in expected for n in theirs]) < 1e-4


def test_a_network_for_another_number_of_names_is_refused() -> None:
    model = build_model(small_config("heatmap", SOURCE))
    with pytest.raises(ConfigError, match=r"metadata: names 3 keypoints, but model.heads.bodypart is made for 4"):
        transfer(model, model.state_dict(), Counterparts((0, 1, 2)), heads=True, source="a.pt")
