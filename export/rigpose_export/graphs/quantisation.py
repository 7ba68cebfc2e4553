"""Float32 -> int8: Q/DQ pairs around the network's products, with ranges from the user's own frames."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from rigpose.arrays import Array
from rigpose.errors import BundleError
from rigpose_export.graphs.regions import (
    PRODUCTS,
    Dataflow,
    dataflow,
    fold_batch_normalisation,
    last_products,
    network_nodes,
    nodes_of,
)
from rigpose_training.models.backbones.coam import Resize

# Without sign, an activation that clips at zero is part of the rounding, and its node goes.
_CLIPPING = ("Relu", "Clip")
# ONNX Runtime (1.31) has no int8 kernel for it: between its pairs it runs in float32, as long as without them, and what
# it reads and gives has been rounded.
_FLOAT_ON_CPU = ("ConvTranspose",)


class CalibrationError(BundleError):
    """There are no frames to take ranges from."""


def quantise(model: Path, out: Path, batches: Iterable[Mapping[str, Array]], *, symmetric: bool) -> onnx.ModelProto:
    """Quantise the products of a network that have weights, per output channel, with ONNX Runtime's quantiser.

    What stays in float32, beside all that is outside of the network:

    - products of two activations, as in attention: a sum over Softmax's results has no range that a few frames show;
    - the products that give what decoders read: 255 steps make plateaus of heatmaps and of SimCC's bins, on which
      the best cell is a matter of chance;
    - the resampling of conditions' maps, which has no weights.

    Args:
        model: A traced float32 graph whose nodes name their modules.
        out: The file to write.
        batches: Inputs of the graph by name, one batch at a time is in memory. 16 to 64 frames that show what the rig
            will see; ranges are the extremes over all of them.
        symmetric: For TensorRT and OpenVINO: signed activations around zero, biases in float32, and no pair behind a
            product, so that its sum with a shortcut or its activation can be one kernel with it. Otherwise for ONNX
            Runtime on CPUs: unsigned activations, and weights of 7 bits: processors without VNNI add two products of
            8 bits in 16, which would overflow without a sign of it, and which processor the rig has is not known here.

    Returns:
        The graph that was written, with the metadata of the one that was read.

    Raises:
        CalibrationError: ``batches`` is empty.
        BundleError: The nodes do not say which of them are the network's.
    """
    prepared = onnx.load(str(model))
    fold_batch_normalisation(prepared)
    flow = dataflow(prepared)
    operators = [operator for operator in PRODUCTS if symmetric or operator not in _FLOAT_ON_CPU]
    network = network_nodes(prepared, flow)
    chosen = _products_with_weights(prepared, flow, network, operators)
    reader = _Batches(batches)
    with tempfile.TemporaryDirectory(prefix="rigpose-int8-") as folder, _quiet():
        float32, int8 = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        onnx.save(prepared, str(float32))
        if not symmetric:
            chosen += [node.name for node in prepared.graph.node if node.name in network and node.op_type in _CLIPPING]
        quantize_static(
            float32,
            int8,
            reader,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=operators if symmetric else [*operators, *_CLIPPING],
            nodes_to_quantize=chosen,
            per_channel=True,
            reduce_range=not symmetric,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            calibration_providers=["CPUExecutionProvider"],
            extra_options={
                "ActivationSymmetric": symmetric,
                "WeightSymmetric": True,
                "QuantizeBias": not symmetric,
                "OpTypesToExcludeOutputQuantization": operators if symmetric else [],
            },
        )
        quantised = onnx.load(str(int8))
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(prepared.metadata_props)
    onnx.checker.check_model(quantised, full_check=True)
    onnx.save(quantised, str(out))
    return quantised


def _products_with_weights(
    model: onnx.ModelProto, flow: Dataflow, network: set[str], operators: Iterable[str]
) -> list[str]:
    inside = network - last_products(model, flow, network) - nodes_of(model, Resize)
    return [
        node.name
        for node in model.graph.node
        if node.name in inside
        and node.op_type in operators
        and node.input[1] in flow.constants
        and node.input[0] not in flow.constants
    ]


class _Batches(CalibrationDataReader):
    """One batch after the other, as the quantiser asks for them."""

    def __init__(self, batches: Iterable[Mapping[str, Array]]) -> None:
        self._batches = iter(batches)
        self._any = False

    def get_next(self) -> dict[str, Array] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        batch = next(self._batches, None)
        if batch is None and not self._any:
            raise CalibrationError("there are no frames to find the ranges of int8 with; give some with --frames.")
        self._any = True
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
