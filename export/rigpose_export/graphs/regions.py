"""Which nodes of a traced graph belong to the network: what is outside never changes its precision."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from torchvision.models.detection import faster_rcnn, rpn, ssd, ssdlite
from torchvision.ops import FrozenBatchNorm2d

from rigpose.arrays import Array
from rigpose.errors import BundleError
from rigpose_training.dense_boxes.faster_rcnn import FeaturePyramid
from rigpose_training.models import PoseModel

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Where a network spends its time."""

# The exporter writes the classes of the modules that a node was called from, the outermost first.
_CLASSES = "pkg.torch.onnx.class_hierarchy"
_NETWORKS = (
    PoseModel,
    FeaturePyramid,
    rpn.RPNHead,
    faster_rcnn.TwoMLPHead,
    faster_rcnn.FastRCNNConvFCHead,
    faster_rcnn.FastRCNNPredictor,
    ssdlite.SSDLiteFeatureExtractorMobileNet,
    ssd.SSDHead,
    ssdlite.SSDLiteHead,
)


@dataclass(frozen=True)
class Dataflow:
    """Who makes a value and who reads it.

    Attributes:
        producer: Value -> the node that makes it.
        readers: Value -> the nodes that read it, once for each time.
        constants: Initializers by name.
        floating: The names of all values of type float32.
    """

    producer: Mapping[str, onnx.NodeProto]
    readers: Mapping[str, Sequence[onnx.NodeProto]]
    constants: Mapping[str, onnx.TensorProto]
    floating: frozenset[str]

    def following(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that read what this one makes."""
        return [reader for value in node.output for reader in self.readers.get(value, ())]

    def preceding(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The nodes that make what this one reads."""
        return [self.producer[value] for value in node.input if value in self.producer]


def dataflow(model: onnx.ModelProto) -> Dataflow:
    """Read a graph's edges and the types of its values."""
    producer: dict[str, onnx.NodeProto] = {}
    readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        producer |= {value: node for value in node.output if value}
        for value in filter(None, node.input):
            readers[value].append(node)
    constants = {constant.name: constant for constant in model.graph.initializer}
    typed = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    floating = {
        value.name
        for value in (*typed.input, *typed.value_info, *typed.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    } | {name for name, constant in constants.items() if constant.data_type == TensorProto.FLOAT}
    return Dataflow(producer, readers, constants, frozenset(floating))


def network_nodes(model: onnx.ModelProto, flow: Dataflow) -> set[str]:
    """The names of the nodes of a network's modules, without pixel normalisation, decoding and suppression.

    Raises:
        BundleError: No node says that it comes from a network.
    """
    names = {_name(network) for network in _NETWORKS}
    inside = {node.name for node in model.graph.node if names & set(_classes(node))}
    if not inside:
        raise BundleError(
            "the graph does not say which nodes are the network's, so its precision cannot change; export it again."
        )
    # The exporter's own rewrites lose their module: such a node belongs to the network if all of its neighbours do.
    for node in model.graph.node:
        around = [*flow.preceding(node), *flow.following(node)]
        if not _classes(node) and around and all(other.name in inside for other in around):
            inside.add(node.name)
    return inside


def last_products(model: onnx.ModelProto, flow: Dataflow, network: set[str]) -> set[str]:
    """The names of the products that no other product of the network follows: they give what decoders read."""
    before_product: set[str] = set()
    for node in reversed(model.graph.node):
        following = [other for other in flow.following(node) if other.name in network]
        if any(other.op_type in PRODUCTS or other.name in before_product for other in following):
            before_product.add(node.name)
    return {
        node.name
        for node in model.graph.node
        if node.name in network and node.op_type in PRODUCTS and node.name not in before_product
    }


def nodes_of(model: onnx.ModelProto, module: type) -> set[str]:
    """The names of the nodes that modules of a class called."""
    return {node.name for node in model.graph.node if _name(module) in _classes(node)}


def fold_batch_normalisation(model: onnx.ModelProto) -> None:
    """Scale the weights of convolutions by the normalisations that follow, where the exporter left them, in place.

    A frozen normalisation is a product and a sum. One is left where a shape is not all that is read from the
    convolution's output, too: a shape does not depend on weights.
    """
    flow = dataflow(model)
    producer, constants = dict(flow.producer), dict(flow.constants)
    frozen = nodes_of(model, FrozenBatchNorm2d)
    for norm in list(model.graph.node):
        affine = _affine(norm, constants) if norm.op_type == "BatchNormalization" or norm.name in frozen else None
        if affine is None:
            continue
        value, factor, shift = affine
        convolution = producer.get(value)
        if convolution is None or convolution.op_type != "Conv" or not set(convolution.input[1:]) <= set(constants):
            continue
        readers = [node for node in model.graph.node if value in node.input and node is not norm]
        if any(node.op_type != "Shape" for node in readers):
            continue
        weight = _value(constants[convolution.input[1]])
        bias = _value(constants[convolution.input[2]]) if len(convolution.input) > 2 else np.zeros(len(weight))
        folded = {
            f"{norm.name}_weight": weight * factor.reshape(-1, *[1] * (weight.ndim - 1)),
            f"{norm.name}_bias": bias * factor + shift,
        }
        for name, array in folded.items():
            constants[name] = numpy_helper.from_array(array.astype(np.float32), name)
            model.graph.initializer.append(constants[name])
        for node in readers:
            node.input[0] = norm.output[0]
        convolution.input[1:] = list(folded)
        convolution.output[0] = norm.output[0]
        producer[norm.output[0]] = convolution
        model.graph.node.remove(norm)
    drop_unused_constants(model)


def _affine(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> tuple[str, Array, Array] | None:
    """The value that a node scales and shifts by channel, and by what: (C,) each; none if it does something else."""
    if node.op_type == "BatchNormalization" and set(node.input[1:]) <= set(constants):
        scale, shift, mean, variance = (_value(constants[name]) for name in node.input[1:])
        epsilon = next((a.f for a in node.attribute if a.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + epsilon)
        return node.input[0], factor, shift - mean * factor
    values, numbers = ([name for name in node.input if (name in constants) is known] for known in (False, True))
    if node.op_type not in ("Mul", "Add") or len(values) != 1:
        return None
    number = _value(constants[numbers[0]]).reshape(-1)
    return (values[0], number, 0 * number) if node.op_type == "Mul" else (values[0], np.ones_like(number), number)


def drop_unused_constants(model: onnx.ModelProto) -> None:
    """Remove the initializers that no node reads, in place."""
    read = {value for node in model.graph.node for value in node.input} | {value.name for value in model.graph.output}
    kept = [constant for constant in model.graph.initializer if constant.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def largest(constant: onnx.TensorProto) -> float:
    """The largest finite magnitude of an initializer, 0 where there is none."""
    magnitude = np.abs(numpy_helper.to_array(constant))
    return float(np.max(magnitude, where=np.isfinite(magnitude), initial=0.0))


def _value(constant: onnx.TensorProto) -> Array:
    return numpy_helper.to_array(constant).astype(np.float64)


def _name(module: type) -> str:
    return f"{module.__module__}.{module.__qualname__}"


def _classes(node: onnx.NodeProto) -> Iterable[str]:
    written = next((entry.value for entry in node.metadata_props if entry.key == _CLASSES), "[]")
    return ast.literal_eval(written)
