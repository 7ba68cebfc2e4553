"""Float32 -> int8: Q/DQ pairs around the network's products, with ranges from the user's own frames."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

import onnx
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from rigpose.arrays import Array
from rigpose.bundles.bundle import BackendName
from rigpose.errors import BundleError
from rigpose.progress import Advance
from rigpose_export.graphs.channel_steps import divide_channels, fold_into_rounding
from rigpose_export.graphs.regions import (
    PRODUCTS,
    Dataflow,
    dataflow,
    fold_batch_normalisation,
    last_products,
    network_nodes,
    nodes_of,
)
from rigpose_export.graphs.rounding import Integers, rounded_weights
from rigpose_training.models.backbones.coam import Resize
from rigpose_training.models.heads.dekr import DEKRHead

SEEN = 8
"""Batches that stay in memory: steps of channels and integers of weights come from what they show."""

# Without sign, an activation that clips at zero is part of the rounding, and its node goes.
_CLIPPING = ("Relu", "Clip")
# ONNX Runtime (1.31) has no int8 kernel for it: between its pairs it runs in float32, as long as without them, and what
# it reads and gives has been rounded.
_FLOAT_ON_CPU = ("ConvTranspose",)


class CalibrationError(BundleError):
    """There are no frames to take ranges from."""


def quantise(
    model: Path,
    out: Path,
    batches: Iterable[Mapping[str, Array]],
    *,
    backend: BackendName,
    advance: Advance | None = None,
) -> onnx.ModelProto:
    """Quantise the products of a network that have weights, per output channel, with ONNX Runtime's quantiser.

    But for TensorRT, only products read rounded maps; sums of blocks, and what resamples, read them as they were.

    For OpenVINO, every channel that a convolution reads has a step of its own, and most convolutions' weights are
    rounded so that their errors cancel. The other forms have one step for a map: where the quantiser rounded weights
    that had been multiplied for such steps, one network's error rose by more than half.

    What stays in float32, beside all that is outside of the network:

    - products of two activations, as in attention: a sum over Softmax's results has no range that a few frames show;
    - the products that give what decoders read: 255 steps make plateaus of heatmaps and of SimCC's bins, on which
      the best cell is a matter of chance;
    - the resampling of conditions' maps, which has no weights;
    - DEKR's head: it reads the maps of four resolutions at once, whose ranges differ, and its offsets span an animal.
      On a trained network it gave seven tenths of their squared error.

    Args:
        model: A traced float32 graph whose nodes name their modules.
        out: The file to write.
        batches: Inputs of the graph by name; the first ``SEEN`` and one other at a time are in memory. 16 to 64 frames
            that show what the rig will see; ranges are the extremes over all of them (in a trial on one trained
            ResNet-50, those of least squared error moved keypoints four times as far).
        backend: Whose form of int8. For ONNX Runtime biases and what a product gives are rounded, too, as its kernels
            need it; the others make one kernel of a product, its sum with a shortcut and its activation, which no pair
            may stand between. TensorRT's activations are signed, around zero. Those of ONNX Runtime, and of OpenVINO
            where the network clips at zero, have no sign, which is one bit more behind every such activation (on
            trained ResNets keypoints moved a third as far), but for the maps that OpenVINO's transposed convolutions
            read and nothing clipped; their weights have 7 bits, or 8 where no pair is too large: processors without
            VNNI add two products of 8 bits in 16, which would overflow without a sign of it, and which processor the
            rig has is not known here.
        advance: Told, by notes, how far the rounding of weights is: it takes about a minute for a ResNet-50.

    Returns:
        The graph that was written, with the metadata of the one that was read.

    Raises:
        CalibrationError: ``batches`` is empty.
        BundleError: The nodes do not say which of them are the network's.
    """
    prepared = onnx.load(str(model))
    fold_batch_normalisation(prepared)
    flow = dataflow(prepared)
    whole = backend == "onnxruntime"
    operators = [operator for operator in PRODUCTS if not whole or operator not in _FLOAT_ON_CPU]
    network = network_nodes(prepared, flow)
    clips = any(node.name in network and node.op_type in _CLIPPING for node in prepared.graph.node)
    signed = backend == "tensorrt" or (backend == "openvino" and not clips)
    chosen = _products_with_weights(prepared, flow, network, operators)
    batches = iter(batches)
    seen = list(islice(batches, SEEN))
    if not seen:
        raise CalibrationError("there are no frames to find the ranges of int8 with; give some with --frames.")
    rounded: dict[str, Integers] = {}
    signs: dict[str, list[dict[str, object]]] = {}
    if backend == "openvino":
        signs = _signed_inputs(prepared, chosen)
        divided = divide_channels(prepared, chosen, seen)
        signs = {divided.get(value, value): sign for value, sign in signs.items()}
        rounded = rounded_weights(prepared, chosen, seen, signed=signed, advance=advance)
    with tempfile.TemporaryDirectory(prefix="rigpose-int8-") as folder, _quiet():
        float32, int8 = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(prepared, str(float32))
        if whole:
            chosen += [node.name for node in prepared.graph.node if node.name in network and node.op_type in _CLIPPING]
        quantize_static(
            float32,
            int8,
            _Batches(chain(seen, batches)),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=[*operators, *_CLIPPING] if whole else operators,
            nodes_to_quantize=chosen,
            per_channel=True,
            reduce_range=not signed,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            calibration_providers=["CPUExecutionProvider"],
            extra_options={
                "ActivationSymmetric": signed,
                "WeightSymmetric": True,
                "QuantizeBias": whole,
                "OpTypesToExcludeOutputQuantization": [] if whole else operators,
                "TensorQuantOverrides": signs,
            },
        )
        quantised = onnx.load(str(int8))
    _put(rounded, quantised)
    fold_into_rounding(quantised)
    if backend != "tensorrt":  # What float32 shortcuts would cost on a GPU has not been measured.
        _round_for(set(chosen), quantised)
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(prepared.metadata_props)
    onnx.checker.check_model(quantised, full_check=True)
    onnx.save(quantised, str(out))
    return quantised


def _products_with_weights(
    model: onnx.ModelProto, flow: Dataflow, network: set[str], operators: Iterable[str]
) -> list[str]:
    inside = network - last_products(model, flow, network) - nodes_of(model, Resize) - nodes_of(model, DEKRHead)
    return [
        node.name
        for node in model.graph.node
        if node.name in inside
        and node.op_type in operators
        and node.input[1] in flow.constants
        and node.input[0] not in flow.constants
    ]


def _put(rounded: Mapping[str, Integers], model: onnx.ModelProto) -> None:
    """Replace what the quantiser made of these weights, in place."""
    constants = {constant.name: constant for constant in model.graph.initializer}
    for name, integers in rounded.items():
        for made, array in ((f"{name}_quantized", integers.values), (f"{name}_scale", integers.steps)):
            constants[made].CopyFrom(numpy_helper.from_array(array, made))


def _round_for(quantised: set[str], model: onnx.ModelProto) -> None:
    """Let all other nodes read maps as they were before rounding, in place.

    A sum would carry the rounding of its shortcut on to all blocks behind it: on a trained HRNet-w18 in OpenVINO's form
    that was nine tenths of the squared error at its head, for a twentieth of the time. What a product gives stays
    rounded where it has a pair of its own, as ONNX Runtime's kernels need it.
    """
    flow = dataflow(model)
    before: dict[str, str] = {}
    for node in model.graph.node:
        pair = flow.producer.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if pair is not None and pair.op_type == "QuantizeLinear":
            source = flow.producer.get(pair.input[0])
            if source is None or source.name not in quantised or source.op_type not in PRODUCTS:
                before[node.output[0]] = pair.input[0]
    for node in model.graph.node:
        if node.name not in quantised:
            for position, value in enumerate(node.input):
                node.input[position] = before.get(value, value)


def _signed_inputs(model: onnx.ModelProto, chosen: Iterable[str]) -> dict[str, list[dict[str, object]]]:
    """What transposed convolutions read that may be negative: with a zero point, OpenVINO runs them in float32."""
    quantised, flow = set(chosen), dataflow(model)
    read = {node.input[0] for node in model.graph.node if node.op_type == "ConvTranspose" and node.name in quantised}
    clipped = {value for value in read if value in flow.producer and flow.producer[value].op_type in _CLIPPING}
    return {value: [{"quant_type": QuantType.QInt8, "symmetric": True}] for value in read - clipped}


class _Batches(CalibrationDataReader):
    """One batch after the other, as the quantiser asks for them."""

    def __init__(self, batches: Iterable[Mapping[str, Array]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, Array] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        batch = next(self._batches, None)
        return None if batch is None else dict(batch)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice off the user's console; errors still raise."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)
