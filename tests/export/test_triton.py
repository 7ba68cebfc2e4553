"""The model repository, read by Triton's own message, held against the graphs, and asked by Triton's client."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from exported_pairs import drawn
from handmade_graphs import write_pair

from rigpose.bundles.bundle import Bundle, Display, GraphSpec, Manifest, Provenance, Role
from rigpose.errors import BundleError, ConfigError
from rigpose.models.crops import CropSpec
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose_export.graphs.onnx_file import describe
from rigpose_export.triton import model_name, write_triton

WHY = "tritonclient has Triton's messages and its client; install the extra dev"
triton: Any = pytest.importorskip("tritonclient.grpc", reason=WHY)
model_config_pb2: Any = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason=WHY)
service_pb2: Any = pytest.importorskip("tritonclient.grpc.service_pb2", reason=WHY)
service_pb2_grpc: Any = pytest.importorskip("tritonclient.grpc.service_pb2_grpc", reason=WHY)
text_format: Any = pytest.importorskip("google.protobuf.text_format", reason=WHY)

NAMES = ("nose", 'tail "tip"', "Schwanz ä", *(f"column{i}" for i in range(21)))
DETECTOR = DetectorSpec(max_animals=2)
SPEC = ModelSpec("top_down", "x", NAMES, ("one", "two"), crop=CropSpec(24, 32))
TYPES: dict[int, str] = {onnx.TensorProto.UINT8: "TYPE_UINT8", onnx.TensorProto.FLOAT: "TYPE_FP32"}


def bundle_of(folder: Path, graphs: list[GraphSpec]) -> Bundle:
    nobody = Provenance("0", "0", "s.pt", "0", "0", None, "drawn", None, None)
    manifest = Manifest(3, "now", "scorer", SPEC, DETECTOR, tuple(graphs), Display(), nobody, {})
    return Bundle(folder, manifest, "0")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "two mice.bundle"
    folder.mkdir()
    boxes, scores = np.array([[10, 10, 50, 50], [60, 20, 100, 60.5]], np.float32), np.array([0.9, 0.4], np.float32)
    write_pair(folder, boxes, scores, (DETECTOR, SPEC))
    roles: tuple[Role, ...] = ("pose", "detector")
    graphs = [describe(folder / f"{role}.onnx", onnx.load(folder / f"{role}.onnx"), role) for role in roles]
    return bundle_of(folder, graphs)


def configs(repository: Path) -> dict[str, Any]:
    """Every model's configuration, read by Triton's message; unknown fields and wrong types raise."""
    read = {}
    for folder in sorted(path for path in repository.iterdir() if path.is_dir()):
        text = (folder / "config.pbtxt").read_text(encoding="utf-8")
        read[folder.name] = text_format.Parse(text, model_config_pb2.ModelConfig())
        assert sorted(path.name for path in folder.iterdir()) == ["1", "config.pbtxt"]
        assert [path.name for path in (folder / "1").iterdir()] == ["model.onnx"]
    return read


def check_against_graph(config: Any, model: onnx.ModelProto) -> None:
    """The configuration says of the tensors what the graph itself says."""
    assert config.backend == "onnxruntime" and config.default_model_filename == "model.onnx"
    assert config.max_batch_size > 0 and config.HasField("dynamic_batching")
    for listed, values in ((config.input, model.graph.input), (config.output, model.graph.output)):
        assert [tensor.name for tensor in listed] == [value.name for value in values]
        for tensor, value in zip(listed, values, strict=True):
            first, *others = value.type.tensor_type.shape.dim
            assert first.dim_param, "batches of any size, as max_batch_size promises"
            assert list(tensor.dims) == [-1 if dim.dim_param else dim.dim_value for dim in others]
            assert model_config_pb2.DataType.Name(tensor.data_type) == TYPES[value.type.tensor_type.elem_type]
    told = {entry.key: entry.value for entry in model.metadata_props if entry.key.startswith("rigpose.")}
    assert {key: config.parameters[key].string_value for key in config.parameters} == told


def test_each_graph_is_a_model_that_the_message_describes_as_the_graph_does(pair: Bundle, tmp_path: Path) -> None:
    repository = write_triton(pair, tmp_path / "models")
    read = configs(repository)
    assert list(read) == ["two_mice_detector", "two_mice_pose"]
    for name, config in read.items():
        assert config.name == name, "Triton refuses another name than the folder's"
        check_against_graph(config, onnx.load(repository / name / "1" / "model.onnx"))
        (group,) = config.instance_group
        assert (group.kind, group.count) == (model_config_pb2.ModelInstanceGroup.KIND_GPU, 1)
        (accelerator,) = config.optimization.execution_accelerators.gpu_execution_accelerator
        assert accelerator.name == "cuda" and dict(accelerator.parameters) == {"use_tf32": "0"}
    assert list(read["two_mice_pose"].input[0].dims) == [32, 24, 3]
    assert list(read["two_mice_detector"].input[0].dims) == [-1, -1, 3]
    assert all(name in (repository / "README.md").read_text(encoding="utf-8") for name in [*NAMES, *read])


def test_bundles_whose_names_end_alike_are_different_models(pair: Bundle) -> None:
    names = {model_name(replace(pair, path=Path(folder)), "pose") for folder in ("mice.1", "mice.2", "mice.bundle")}
    assert names == {"mice.1_pose", "mice.2_pose", "mice_pose"}


def test_a_real_bundle_is_described_as_its_graph_is(tiny_bundle: Path, tmp_path: Path) -> None:
    repository = write_triton(Bundle.open(tiny_bundle), tmp_path / "models")
    (config,) = configs(repository).values()
    check_against_graph(config, onnx.load(tiny_bundle / "pose.onnx"))
    assert config.name == "tiny_pose" and "rigpose.keypoints" in config.parameters


def test_a_server_without_a_gpu_is_asked_for_none(pair: Bundle, tmp_path: Path) -> None:
    for config in configs(write_triton(pair, tmp_path / "models", device="cpu")).values():
        assert [group.kind for group in config.instance_group] == [model_config_pb2.ModelInstanceGroup.KIND_CPU]
        assert not config.HasField("optimization")


def test_a_combined_graph_takes_the_place_of_the_two(pair: Bundle, tmp_path: Path) -> None:
    """In the precision that it is in; it is optional in each."""
    detector = pair.manifest.graph("detector")
    graphs = [*pair.manifest.graphs, *(replace(g, precision="fp16") for g in pair.manifest.graphs)]
    both = bundle_of(pair.path, [*graphs, replace(detector, role="pair", precision="fp16")])
    assert list(configs(write_triton(both, tmp_path / "half", precision="fp16"))) == ["two_mice_pair"]
    assert list(configs(write_triton(both, tmp_path / "full"))) == ["two_mice_detector", "two_mice_pose"]


def test_a_precision_that_is_not_there_is_refused(pair: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="int8"):
        write_triton(pair, tmp_path / "models", precision="int8", device="cpu")
    with pytest.raises(ConfigError, match="int8 on CPUs alone; serve fp16"):
        write_triton(pair, tmp_path / "models", precision="int8")
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_only_if_it_is_a_repository_and_asked_for(pair: Bundle, tmp_path: Path) -> None:
    repository = write_triton(pair, tmp_path / "models")
    (repository / "two_mice_pose" / "config.pbtxt").write_text("changed")
    with pytest.raises(BundleError, match="exists already"):
        write_triton(pair, repository)
    write_triton(pair, repository, overwrite=True)
    assert list(configs(repository)) == ["two_mice_detector", "two_mice_pose"]
    other = tmp_path / "photos"
    other.mkdir()
    (other / "me.jpg").write_bytes(b"dear")
    with pytest.raises(BundleError, match="no model repository"):
        write_triton(pair, other, overwrite=True)
    assert (other / "me.jpg").read_bytes() == b"dear"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "photos"]


def test_a_full_disk_leaves_nothing_half(pair: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(BundleError, match="No space left"):
        write_triton(pair, tmp_path / "models")
    assert list(tmp_path.iterdir()) == []


class Served(service_pb2_grpc.GRPCInferenceServiceServicer):
    """A repository behind Triton's own service: requests must fit the configuration, ONNX Runtime answers."""

    def __init__(self, repository: Path) -> None:
        self.configs = configs(repository)
        self.sessions: dict[str, Any] = {
            name: onnxruntime.InferenceSession(str(repository / name / "1" / "model.onnx")) for name in self.configs
        }

    def ModelConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802
        return service_pb2.ModelConfigResponse(config=self.configs[request.name])

    def ModelInfer(self, request: Any, _context: Any) -> Any:  # noqa: N802
        config = self.configs[request.model_name]
        feeds = {}
        for told, sent, raw in zip(config.input, request.inputs, request.raw_input_contents, strict=True):
            assert (sent.name, f"TYPE_{sent.datatype}") == (told.name, model_config_pb2.DataType.Name(told.data_type))
            assert 1 <= sent.shape[0] <= config.max_batch_size
            assert all(wanted in (-1, size) for wanted, size in zip(told.dims, sent.shape[1:], strict=True))
            dtype = triton.triton_to_np_dtype(sent.datatype)
            feeds[sent.name] = np.frombuffer(raw, dtype).reshape(tuple(sent.shape))
        names = [output.name for output in config.output]
        response = service_pb2.ModelInferResponse(model_name=request.model_name, model_version="1")
        for output, found in zip(config.output, self.sessions[request.model_name].run(names, feeds), strict=True):
            assert all(wanted in (-1, size) for wanted, size in zip(output.dims, found.shape[1:], strict=True))
            response.outputs.add(name=output.name, datatype="FP32", shape=found.shape)
            response.raw_output_contents.append(found.tobytes())
        return response


@contextmanager
def serving(repository: Path) -> Iterator[int]:
    """The port of a running server."""
    grpc = pytest.importorskip("grpc")
    server = grpc.server(futures.ThreadPoolExecutor(2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Served(repository), server)
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(grace=None).wait()


def test_the_client_of_the_readme_gets_what_the_graphs_give(
    pair: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    repository = write_triton(pair, tmp_path / "models")
    text = (repository / "README.md").read_text(encoding="utf-8")
    clients = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert len(clients) == 2
    with serving(repository) as port:
        for client, size in zip(clients, ((32, 24), (97, 131)), strict=True):
            frame = drawn(0, *size)
            cv2.imwrite("picture.png", frame)
            found: dict[str, Any] = {}
            exec(client.replace("8001", str(port)), found)
            role = "pose" if "_pose" in client else "detector"
            session = onnxruntime.InferenceSession(str(pair.path / f"{role}.onnx"))
            wanted = session.run(None, {"frames": frame[None]})
            for output, array in zip(session.get_outputs(), wanted, strict=True):
                np.testing.assert_array_equal(found[output.name], array)
            assert "rigpose.steps" in found["contract"]


def test_the_client_of_a_conditional_model_sends_rough_poses_too(pair: Bundle, tmp_path: Path) -> None:
    pose = pair.manifest.graph("pose")
    rough = replace(pose.inputs[0], name="conditions", dtype="float32", shape=("batch", 24, 3))
    bundle = bundle_of(pair.path, [replace(pose, inputs=(*pose.inputs, rough))])
    repository = write_triton(bundle, tmp_path / "models")
    (config,) = configs(repository).values()
    assert [(told.name, list(told.dims)) for told in config.input] == [("frames", [32, 24, 3]), ("conditions", [24, 3])]
    (client,) = re.findall(r"^```python\n(.*?)^```", (repository / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    compile(client, "README.md", "exec")
    assert "conditions = np.zeros((1, 24, 3), np.float32)" in client and '"conditions": conditions' in client
