# pyright: basic
"""ONNX operators that OpenVINO's reader does not know, or reads into a form that is slow on CPUs."""

from __future__ import annotations

from typing import Any

import numpy as np


class Operators:
    """Conversions for one graph.

    Attributes:
        conversions: What a ``Core`` must be given before it reads the graph.
        group_normalisations: How many of them were read in the form that wants a fixed batch.
    """

    def __init__(self) -> None:
        from openvino.frontend.onnx import ConversionExtension

        self.group_normalisations = 0
        self.conversions = [
            ConversionExtension("DeformConv", "", _deform_conv),
            ConversionExtension("InstanceNormalization", "", self._instance_normalisation),
        ]

    def _instance_normalisation(self, node: Any) -> list[Any]:
        maps, groups = _maps_in_groups(node.get_input(0))
        self.group_normalisations += groups > 0
        return _instance_normalisation(node, maps, groups)


def _deform_conv(node: Any) -> list[Any]:
    """OpenVINO has it and its reader of ONNX files does not know."""
    from openvino import opset8

    count = node.get_input_size()
    pads = node.get_attribute("pads", [0, 0, 0, 0])
    convolved = opset8.deformable_convolution(
        node.get_input(0),
        node.get_input(2),
        node.get_input(1),
        node.get_attribute("strides", [1, 1]),
        pads[:2],
        pads[2:],
        node.get_attribute("dilations", [1, 1]),
        node.get_input(4) if count > 4 else None,
        "explicit",
        node.get_attribute("group", 1),
        node.get_attribute("offset_group", 1),
        # Beyond the border there are zeros, which the border's own pixels are interpolated with.
        bilinear_interpolation_pad=True,
    )
    if count > 3:
        bias = opset8.reshape(node.get_input(3), [1, -1, 1, 1], special_zero=False)
        convolved = opset8.add(convolved, bias)
    return [convolved.output(0)]


def _instance_normalisation(node: Any, maps: Any, groups: int) -> list[Any]:
    """InstanceNormalization, which is also how a group normalisation is exported: over maps (B, C, H, W) as (B, G, -1).

    OpenVINO computes it on planes, and its convolutions give pixels with all channels beside each other. Turning the
    maps over and back took as long as the convolutions themselves in int8. So the statistics of a group are put
    together from its channels' (two passes: a mean of squares less a squared mean would lose digits; a norm in place
    of a mean of squares, which would be a map of squares, written and read again), the maps stay as they lie, and
    OpenVINO removes the two reshapes that are left. On a ResNet-50 with group normalisation, 640x480, one thread with
    VNNI, this is 0.64 (int8), 0.83 (fp32) and 0.9 (bf16) of the time where the graph's batch is fixed; for any batch
    it is slower than before.
    """
    from openvino import opset13 as ov

    value, scale, shift = (node.get_input(i) for i in range(3))
    epsilon = np.float32(node.get_attribute("epsilon", 1e-5))
    if groups:
        size = maps.get_partial_shape()[1].get_length() // groups

        def of_group(statistic: Any) -> Any:
            """(B, C, 1, 1) of each channel -> the mean over its group."""
            grouped = ov.reduce_mean(
                ov.reshape(statistic, [0, groups, size, 1], special_zero=True), [2], keep_dims=True
            )
            return ov.reshape(ov.tile(grouped, [1, 1, size, 1]), [0, groups * size, 1, 1], special_zero=True)

        centred = ov.subtract(maps, of_group(ov.reduce_mean(maps, [2, 3], keep_dims=True)))
        length = ov.reduce_l2(centred, [2, 3], keep_dims=True)
        cells = ov.reduce_prod(ov.convert(ov.gather(ov.shape_of(maps), [2, 3], 0), "f32"), 0)
        variance = of_group(ov.divide(ov.multiply(length, length), cells))
        normalised = ov.divide(centred, ov.sqrt(ov.add(variance, epsilon)))
        normalised = ov.reshape(normalised, [0, groups, -1], special_zero=True)
    else:
        axes = list(range(2, value.get_partial_shape().rank.get_length()))
        normalised = ov.mvn(value, axes, normalize_variance=True, eps=float(epsilon), eps_mode="inside_sqrt")
    per_channel = [1, -1, *[1] * (value.get_partial_shape().rank.get_length() - 2)]
    for operation, numbers, nothing in ((ov.multiply, scale, 1), (ov.add, shift, 0)):
        constant = numbers.get_node()
        if constant.get_type_name() == "Constant" and (constant.get_data() == nothing).all():
            continue
        normalised = operation(normalised, ov.reshape(numbers, per_channel, special_zero=False))
    return [normalised.output(0)]


def _maps_in_groups(value: Any) -> tuple[Any, int]:
    """Maps (B, C, H, W) and G, where a value is these maps as (B, G, -1); nothing and 0 where it is anything else."""
    reshaped = value.get_node()
    if reshaped.get_type_name() != "Reshape" or not reshaped.get_attributes()["special_zero"]:
        return None, 0
    maps, form = reshaped.input_value(0), reshaped.input_value(1).get_node()
    shape = maps.get_partial_shape()
    if form.get_type_name() != "Constant" or shape.rank.is_dynamic or len(shape) != 4 or shape[1].is_dynamic:
        return None, 0
    to = form.get_data().tolist()
    if len(to) != 3 or to[0] != 0 or to[1] < 1 or to[2] != -1 or shape[1].get_length() % to[1]:
        return None, 0
    return maps, to[1]
