"""Which provider ran each node is read from real profiles, and work on frames beside the GPU is refused."""

from __future__ import annotations

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest
from drawn_graph import write_graph

from rigpose.errors import BackendError
from rigpose.sessions.onnx_runtime import profiled_nodes
from rigpose.sessions.placement import RanNode, prove_placement

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


def profile(graph: Path) -> list[RanNode]:
    """The nodes of a graph as ONNX Runtime really ran them on this machine's CPU."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    with tempfile.TemporaryDirectory() as folder:
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        return profiled_nodes(onnxruntime.InferenceSession(str(graph), options, providers=[CPU]))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> list[RanNode]:
    return profile(write_graph(tmp_path_factory.mktemp("graph") / "pose.onnx"))


def as_on_a_gpu(nodes: list[RanNode], provider: str = CUDA) -> list[RanNode]:
    """The recorded nodes where ONNX Runtime would put them beside a GPU: all but the arithmetic with sizes is there."""
    return [node if node.holds_sizes_only else replace(node, provider=provider) for node in nodes]


def test_every_node_of_a_session_on_the_cpu_is_seen_there(nodes: list[RanNode]) -> None:
    placement = prove_placement("pose.onnx", nodes, CPU)
    assert placement.nodes == {CPU: len(nodes)} and str(placement) == f"all {len(nodes)} nodes on the CPU"
    assert {"best", "sizes", "index"} <= {node.name for node in nodes}
    # It is one that ONNX Runtime rewrote for this processor's vectors, with nodes of its own around it.
    [(kind, shape)] = next(node.outputs[1] for node in nodes if node.kind == "Conv")
    assert kind == "float" and (shape[0], *shape[2:]) == (3, 32, 32)


def test_a_graph_that_runs_on_the_cpu_is_refused_where_cuda_was_asked_for(nodes: list[RanNode]) -> None:
    with pytest.raises(BackendError) as refused:
        prove_placement("pose.onnx", nodes, CUDA)
    said = str(refused.value)
    assert said.startswith("pose.onnx: asked for CUDA, but ONNX Runtime runs ") and "(Cast on the CPU)" in said
    assert " more elsewhere" in said and "\n" not in said
    # What may be on the CPU is not what is complained about.
    assert "sizes (" not in said and "height (" not in said


def test_arithmetic_with_sizes_may_stay_on_the_cpu_and_nothing_else(nodes: list[RanNode]) -> None:
    mixed = as_on_a_gpu(nodes)
    beside = [node.name for node in mixed if node.provider == CPU]
    assert set(beside) >= {"sizes", "height", "cells", "index"}
    placement = prove_placement("pose.onnx", mixed, CUDA)
    assert str(placement) == f"{len(nodes) - len(beside)} nodes on CUDA, {len(beside)} of shape arithmetic on the CPU"
    for at, node in enumerate(mixed):
        if node.provider == CUDA:
            with pytest.raises(
                BackendError, match=rf"runs {re.escape(node.name)} \({node.kind} on the CPU\) elsewhere"
            ):
                prove_placement("pose.onnx", [*mixed[:at], replace(node, provider=CPU), *mixed[at + 1 :]], CUDA)


def test_a_grid_of_floating_point_numbers_is_no_arithmetic_with_sizes(nodes: list[RanNode]) -> None:
    """It does not depend on frames, and in every run it would be sent to the GPU."""
    by_name = {node.name: node for node in nodes}
    assert not by_name["centres"].holds_sizes_only and not by_name["index_float"].holds_sizes_only
    # One number for each frame is work on frames, however few they are.
    assert not by_name["per_row"].holds_sizes_only and not by_name["colours"].holds_sizes_only


def test_a_node_that_did_not_run_once_in_each_run_proves_nothing(nodes: list[RanNode]) -> None:
    sizes = next(node for node in nodes if node.name == "sizes")
    assert sizes.holds_sizes_only
    assert not replace(sizes, outputs=sizes.outputs[:1]).holds_sizes_only
    assert not replace(sizes, outputs=sizes.outputs * 2).holds_sizes_only


def test_a_graph_of_one_fixed_batch_has_no_shape_arithmetic(tmp_path: Path) -> None:
    """Nothing grows with its batch, so that work on its frames could not be told apart."""
    ran = profile(write_graph(tmp_path / "pose.onnx", batch=2))
    assert ran and not any(node.holds_sizes_only for node in ran)


def test_nothing_at_all_on_the_gpu_is_refused(nodes: list[RanNode]) -> None:
    with pytest.raises(BackendError, match="runs none of its nodes there"):
        prove_placement("pose.onnx", [node for node in nodes if node.holds_sizes_only], CUDA)


def test_tensorrt_may_leave_a_conversion_to_cuda_and_no_layer(nodes: list[RanNode]) -> None:
    by_name = {node.name: node for node in nodes}
    layer = next(node for node in nodes if node.kind == "Conv")
    engine = replace(layer, name="TRTKernel_graph_0", kind="TRTKernel_graph_0", provider=TENSORRT)
    cast = replace(by_name["to_float"], provider=CUDA)
    placement = prove_placement("pose.onnx", [cast, engine], TENSORRT)
    assert str(placement) == "1 node on TensorRT, 1 on CUDA"
    assert str(prove_placement("pose.onnx", [engine], TENSORRT)) == "all in one node on TensorRT"
    with pytest.raises(BackendError, match=r"asked for TensorRT, .* \(Conv on CUDA\)"):
        prove_placement("pose.onnx", [engine, replace(layer, provider=CUDA)], TENSORRT)
    with pytest.raises(BackendError, match=r"to_float \(Cast on the CPU\)"):
        prove_placement("pose.onnx", [engine, by_name["to_float"]], TENSORRT)


@pytest.mark.slow
@pytest.mark.parametrize("net_type", ["resnet_50", "dekr_w18", "rtmpose_s", "ctd_prenet_hrnet_w32"])
def test_what_may_stay_on_the_cpu_of_real_graphs_holds_no_frame(
    net_type: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from exported_families import family_bundle
    from exported_once import shared_folder

    bundle = family_bundle(shared_folder(tmp_path_factory), net_type)
    ran = profile(bundle.file(bundle.manifest.graph("pose").file))
    assert all(len(node.outputs) == 2 for node in ran)
    for node in ran:
        if node.holds_sizes_only:
            assert node.kind not in {"Conv", "FusedConv", "Relu", "Sigmoid", "TopK", "MaxPool", "GridSample"}
    prove_placement("pose.onnx", as_on_a_gpu(ran), CUDA)
