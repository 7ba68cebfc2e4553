"""A bundle's graphs as a model repository of NVIDIA's Triton Inference Server, which serves many rigs from one GPU.

Triton's format: a folder per model with ``config.pbtxt`` (the text form of its ``ModelConfig`` message) and a folder
per version. https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/model_configuration.html
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx

from rigpose.bundles.bundle import Bundle, GraphSpec, Precision, Role, TensorSpec
from rigpose.errors import ConfigError
from rigpose_export.whole_folder import check_free, whole_folder

MAX_BATCH = {"pose": 32, "detector": 8, "pair": 8}
"""Frames that the server may put together; more of the crops, which are small."""
CUDA_OPTIONS = {"use_tf32": "0"}
"""TF32 rounds a convolution's inputs to 10 bits: faster, and no longer the training framework's keypoints."""
LEAST_ONNXRUNTIME = "1.18"
"""The first release that knows ``use_tf32``; an older one refuses the configuration."""
README = "README.md"
_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}


@dataclass(frozen=True)
class Word:
    """A value that the text form writes without quotes: a member of an enumeration."""

    text: str


def write_triton(
    bundle: Bundle,
    folder: Path,
    *,
    precision: Precision = "fp32",
    device: Literal["gpu", "cpu"] = "gpu",
    overwrite: bool = False,
) -> Path:
    """Write a model repository; start the server with ``tritonserver --model-repository FOLDER``.

    There is a model per graph, called after the bundle's folder and the graph's role. Nothing is between the graphs of
    a top-down pair that could cut crops out of frames, so its client does that; where the bundle has a combined graph,
    that one is written instead, and the client sends frames and gets poses.

    Args:
        bundle: What to serve.
        folder: The repository. It has its name only when it is whole.
        precision: Of the graphs.
        device: Where the server runs them; a server without a GPU refuses models for one.
        overwrite: Replace a repository that is there.

    Returns:
        The repository.

    Raises:
        BundleError: The folder is taken or cannot be written.
        ConfigError: The bundle has no graphs in this precision, or they are int8 ones and the server has a GPU.
    """
    check_repository(folder, overwrite=overwrite)
    if (precision, device) == ("int8", "gpu"):
        raise ConfigError(f"{bundle.path}: ONNX Runtime computes int8 on CPUs alone; serve fp16, or give device='cpu'.")
    graphs = served_graphs(bundle, precision)
    with whole_folder(folder) as part:
        for graph in graphs:
            _write_model(bundle, graph, part / model_name(bundle, graph.role), device)
        (part / README).write_text(_readme(bundle, graphs), encoding="utf-8")
    return folder


def check_repository(folder: Path, *, overwrite: bool) -> None:
    """Make sure that a model repository may be written to a folder; raises as ``write_triton``."""
    check_free(folder, overwrite=overwrite, mark="*/config.pbtxt", kind="model repository")


def served_graphs(bundle: Bundle, precision: Precision) -> list[GraphSpec]:
    """The combined graph where there is one in this precision, else one of every role."""
    manifest = bundle.manifest
    combined = [graph for graph in manifest.graphs if graph.role == "pair" and graph.precision == precision]
    runnable = [graph for graph in combined if "onnxruntime" in graph.backends]
    return runnable[:1] or [manifest.graph(role, precision=precision) for role in manifest.roles if role != "pair"]


def model_name(bundle: Bundle, role: Role) -> str:
    """What clients ask for: one server may hold the repositories of several bundles."""
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', _title(bundle))}_{role}"


def _title(bundle: Bundle) -> str:
    """The folder's name, with all of its dots but those of the usual ending: mice.1 and mice.2 are two."""
    return bundle.path.resolve().name.removesuffix(".bundle")


def _write_model(bundle: Bundle, graph: GraphSpec, folder: Path, device: str) -> None:
    (folder / "1").mkdir(parents=True)
    shutil.copyfile(bundle.file(graph.file), folder / "1" / "model.onnx")
    told = {entry.key: entry.value for entry in onnx.load(folder / "1" / "model.onnx").metadata_props}
    config = model_config(folder.name, graph, told, device)
    (folder / "config.pbtxt").write_text("\n".join(_lines(config)) + "\n", encoding="utf-8")


def model_config(name: str, graph: GraphSpec, contract: Mapping[str, str], device: str) -> dict[str, Any]:
    """Triton's ``ModelConfig`` of a graph, by field.

    The contract goes along as parameters, of which the server's ONNX Runtime reads none: so a client that has not got
    the file can still ask the server what the keypoints are called.
    """
    config: dict[str, Any] = {
        "name": name,
        "backend": "onnxruntime",
        "default_model_filename": "model.onnx",
        "max_batch_size": MAX_BATCH[graph.role],
        "input": [_tensor(tensor) for tensor in graph.inputs],
        "output": [_tensor(tensor) for tensor in graph.outputs],
        # Without a delay: what waits already is put together, and nothing waits for more. Sizes do not mix.
        "dynamic_batching": {},
        "instance_group": [{"count": 1, "kind": Word("KIND_GPU" if device == "gpu" else "KIND_CPU")}],
    }
    if device == "gpu":
        accelerator = {"name": "cuda", "parameters": _entries(CUDA_OPTIONS)}
        config["optimization"] = {"execution_accelerators": {"gpu_execution_accelerator": [accelerator]}}
    texts = {key: {"string_value": value} for key, value in contract.items() if key.startswith("rigpose.")}
    return {**config, "parameters": _entries(texts)}


def _entries(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A map in the text form is a list of its entries."""
    return [{"key": key, "value": value} for key, value in values.items()]


def _tensor(tensor: TensorSpec) -> dict[str, Any]:
    """Without the batch, which ``max_batch_size`` puts in front; -1 where a size may vary."""
    sizes = [size if isinstance(size, int) else -1 for size in tensor.shape[1:]]
    return {"name": tensor.name, "data_type": Word(_TYPES[tensor.dtype]), "dims": sizes}


def _lines(message: Mapping[str, Any], indent: str = "") -> list[str]:
    """The text form of a protobuf message; a field that is a list of messages stands there once per message."""
    lines: list[str] = []
    for field, value in message.items():
        repeated = value if isinstance(value, list) and value and isinstance(value[0], Mapping) else [value]
        for one in repeated:
            if isinstance(one, Mapping):
                lines += [f"{indent}{field} {{", *_lines(one, indent + "  "), f"{indent}}}"]
            else:
                lines.append(f"{indent}{field}: {_scalar(one)}")
    return lines


def _scalar(value: object) -> str:
    if isinstance(value, Word):
        return value.text
    # Numbers, lists of numbers and quoted strings are written as in JSON.
    return json.dumps(value, ensure_ascii=False)


def _readme(bundle: Bundle, graphs: Sequence[GraphSpec]) -> str:
    needed = [LEAST_ONNXRUNTIME, *(graph.minimum_onnxruntime for graph in graphs)]
    names = {graph.role: model_name(bundle, graph.role) for graph in graphs}
    rows = [
        f"| `{names[graph.role]}` | {graph.role}, {graph.precision} | {_shapes(graph.inputs)} | "
        f"{_shapes(graph.outputs)} | {MAX_BATCH[graph.role]} |"
        for graph in graphs
    ]
    crops = "The client cuts the crops between the two models, as `rigpose.steps` of the second one say.\n\n"
    return _README.format(
        bundle=_title(bundle),
        newest=max(needed, key=lambda version: tuple(map(int, version.split(".")))),
        rows="\n".join(rows),
        between=crops if len(graphs) > 1 else "",
        keypoints=", ".join(bundle.manifest.model.keypoints),
        examples="\n".join(_CLIENT.format(model=names[graph.role], **_calls(graph)) for graph in graphs),
    )


def _calls(graph: GraphSpec) -> dict[str, str]:
    """The lines of the client's example that depend on what the graph takes and gives."""
    given = {tensor.name: tensor for tensor in graph.inputs}
    rough = (
        f"conditions = np.zeros((1, {given['conditions'].shape[1]}, 3), np.float32)  # the rough pose\n"
        if "conditions" in given
        else ""
    )
    return {
        "conditions": rough,
        "inputs": ", ".join(f'"{name}": {name}' for name in given),
        "outputs": "\n".join(f'{tensor.name} = answer.as_numpy("{tensor.name}")' for tensor in graph.outputs),
    }


def _shapes(tensors: Sequence[TensorSpec]) -> str:
    return ", ".join(f"`{tensor.name}` ({', '.join(map(str, tensor.shape))}) {tensor.dtype}" for tensor in tensors)


_README = """# {bundle} for Triton Inference Server

    tritonserver --model-repository .

The server's ONNX Runtime must be {newest} or newer.

| model | graph | inputs | outputs | largest batch |
|---|---|---|---|---|
{rows}

{between}Keypoints, in order: {keypoints}.

`frames` are uint8 in BGR order as OpenCV gives them, after the contract's `rigpose.steps`, if there are any; so are the
crops of a model that sees one animal at a time. Requests of one size are put together to one batch. The contract
(`export/WITHOUT_RIGPOSE.md` in rigpose's repository explains it) is among each model's parameters. A client needs
`pip install "tritonclient[grpc]"`:

{examples}"""

_CLIENT = """```python
import cv2
import numpy as np
import tritonclient.grpc as triton

server = triton.InferenceServerClient("localhost:8001")
contract = server.get_model_config("{model}").config.parameters  # contract["rigpose.steps"].string_value
frames = cv2.imread("picture.png")[None]
{conditions}requests = []
for name, array in {{{inputs}}}.items():
    requests.append(triton.InferInput(name, list(array.shape), triton.np_to_triton_dtype(array.dtype)))
    requests[-1].set_data_from_numpy(array)
answer = server.infer("{model}", requests)
{outputs}
```
"""
