# pyright: basic
"""ONNX operators that OpenVINO's reader does not know, or reads into a form that is slow on CPUs."""

from __future__ import annotations

from typing import Any

import numpy as np

_CELL = (1, 1)


class Operators:
    """Conversions for one graph.

    Args:
        int8: Whether most of the graph computes in integers; group normalisations may then lose a digit or two.

    Attributes:
        conversions: What a ``Core`` must be given before it reads the graph.
        group_normalisations: How many of them were read in the form that wants a fixed batch.
    """

    def __init__(self, *, int8: bool) -> None:
        from openvino.frontend.onnx import ConversionExtension

        self.group_normalisations = 0
        self._of_groups = _normalised_at_once if int8 else _normalised
        self.conversions = [
            ConversionExtension("DeformConv", "", _deform_conv),
            ConversionExtension("InstanceNormalization", "", self._instance_normalisation),
        ]

    def _instance_normalisation(self, node: Any) -> list[Any]:
        maps, groups = _maps_in_groups(node.get_input(0))
        self.group_normalisations += groups > 0
        epsilon = np.float32(node.get_attribute("epsilon", 1e-5))
        if groups:
            return _scaled(node, self._of_groups(maps, groups, epsilon))
        return _scaled(node, _normalised_alone(node.get_input(0), epsilon))


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


def _normalised(maps: Any, groups: int, epsilon: np.float32) -> Any:
    """Maps (B, C, H, W) normalised over groups of channels, as (B, G, -1).

    OpenVINO computes it on planes, and its convolutions give pixels with all channels beside each other. Turning the
    maps over and back took as long as the convolutions themselves in int8. So the statistics of a group are put
    together from its channels' (two passes: a mean of squares less a squared mean would lose digits; a norm in place
    of a mean of squares, which would be a map of squares, written and read again), the maps stay as they lie, and
    OpenVINO removes the two reshapes that are left. On a ResNet-50 with group normalisation, 640x480, one thread with
    VNNI, this is 0.64 (int8), 0.83 (fp32) and 0.9 (bf16) of the time where the graph's batch is fixed; for any batch
    it is slower than before.
    """
    from openvino import opset13 as ov

    centred = ov.subtract(maps, _to_channels(_mean_of_groups(_mean(maps), groups), maps, groups))
    variance = _mean_of_groups(_mean_square(centred), groups)
    return _grouped(ov.divide(centred, _to_channels(ov.sqrt(ov.add(variance, epsilon)), maps, groups)), groups)


def _normalised_at_once(maps: Any, groups: int, epsilon: np.float32) -> Any:
    """The same by a factor and a sum, without the centred maps between.

    A group whose mean is ten times its deviation loses two of float32's seven digits; a step of int8 is the third. On
    a ResNet-50 in int8, 640x480, one thread with VNNI, this is 0.96 of the time of the form above.
    """
    from openvino import opset13 as ov

    mean = _mean_of_groups(_mean(maps), groups)
    variance = ov.subtract(_mean_of_groups(_mean_square(maps), groups), ov.multiply(mean, mean))
    factor = ov.divide(np.float32(1), ov.sqrt(ov.add(ov.relu(variance), epsilon)))
    shift = ov.negative(ov.multiply(mean, factor))
    return _grouped(
        ov.add(ov.multiply(maps, _to_channels(factor, maps, groups)), _to_channels(shift, maps, groups)), groups
    )


def _normalised_alone(value: Any, epsilon: np.float32) -> Any:
    """Every channel normalised for itself."""
    from openvino import opset13 as ov

    axes = list(range(2, value.get_partial_shape().rank.get_length()))
    return ov.mvn(value, axes, normalize_variance=True, eps=float(epsilon), eps_mode="inside_sqrt")


def _mean(maps: Any) -> Any:
    """(B, C, 1, 1) of each channel.

    A convolution of single cells is linear: the mean of its maps is the convolution of the means of what it reads.
    Where these are fewer maps, and of integers, they are read in a fraction of the time: 0.88 (int8) and 0.98 (fp32) of
    the whole of a ResNet-50 with group normalisation, 640x480, one thread with VNNI.
    """
    from openvino import opset13 as ov

    node = maps.get_node()
    if not _widens_single_cells(node):
        return ov.reduce_mean(maps, [2, 3], keep_dims=True)
    means = ov.reduce_mean(node.input_value(0), [2, 3], keep_dims=True)
    return ov.convolution(means, node.input_value(1), [1, 1], [0, 0], [0, 0], [1, 1])


def _widens_single_cells(node: Any) -> bool:
    """Whether it is a convolution of every cell for itself that makes more maps than it reads."""
    if node.get_type_name() != "Convolution":
        return False
    kernels, form = node.get_input_partial_shape(1), node.get_attributes()
    if kernels.is_dynamic or len(kernels) != len(_CELL) + 2:
        return False
    made, read, *cells = kernels.to_shape()
    return (
        made > read and (*cells,) == (*form["strides"],) == _CELL and not any((*form["pads_begin"], *form["pads_end"]))
    )


def _mean_square(maps: Any) -> Any:
    """(B, C, 1, 1) of each channel."""
    from openvino import opset13 as ov

    length = ov.reduce_l2(maps, [2, 3], keep_dims=True)
    cells = ov.reduce_prod(ov.convert(ov.gather(ov.shape_of(maps), [2, 3], 0), "f32"), 0)
    return ov.divide(ov.multiply(length, length), cells)


def _mean_of_groups(statistic: Any, groups: int) -> Any:
    """(B, C, 1, 1) of each channel -> (B, G, 1, 1) the mean over its group."""
    from openvino import opset13 as ov

    return ov.reduce_mean(ov.reshape(statistic, [0, groups, -1, 1], special_zero=True), [2], keep_dims=True)


def _to_channels(statistic: Any, maps: Any, groups: int) -> Any:
    """(B, G, 1, 1) of each group -> (B, C, 1, 1) of each of the maps' channels."""
    from openvino import opset13 as ov

    channels = _channels(maps)
    return ov.reshape(ov.tile(statistic, [1, 1, channels // groups, 1]), [0, channels, 1, 1], special_zero=True)


def _channels(maps: Any) -> int:
    return maps.get_partial_shape()[1].get_length()


def _grouped(maps: Any, groups: int) -> Any:
    from openvino import opset13 as ov

    return ov.reshape(maps, [0, groups, -1], special_zero=True)


def _scaled(node: Any, normalised: Any) -> list[Any]:
    """By the factor and the sum of each channel, or group, that an InstanceNormalization has."""
    from openvino import opset13 as ov

    per_channel = [1, -1, *[1] * (node.get_input(0).get_partial_shape().rank.get_length() - 2)]
    for operation, numbers, nothing in ((ov.multiply, node.get_input(1), 1), (ov.add, node.get_input(2), 0)):
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
