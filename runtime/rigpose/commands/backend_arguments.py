"""The arguments that say what runs a bundle's graphs."""

from __future__ import annotations

import argparse


def add_backend_arguments(parser: argparse._ActionsContainer, *, auto: bool = False) -> None:
    """Add ``--device``, ``--backend`` and ``--precision``.

    Args:
        parser: Gets them; a group of one will do.
        auto: Let backend and precision be chosen by a measurement, and add what that needs to know.
    """
    chosen = "; or auto, the fastest of all that can run here" if auto else ""
    parser.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda, cuda:N, or auto: the GPU where there is one (default: %(default)s)",
    )
    parser.add_argument(
        "--backend",
        default="onnxruntime",
        help="onnxruntime; openvino, which runs on the CPU; tensorrt, with engines that rigpose engine built; or "
        f"onnxruntime-tensorrt, which builds its own when it first runs, by TensorRT 10{chosen} (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        help="fp32; fp16 for GPUs (onnxruntime on the CPU takes it, too, and computes in fp32: no faster); "
        "int8 for CPUs and for tensorrt; or with openvino bf16, which every bundle can: faster where the processor has "
        "it, and keypoints of a trained model move by some hundredths of a pixel"
        f"{'; or auto, the fastest within --accuracy' if auto else ''} (default: fp32)",
    )
    if not auto:
        return
    parser.add_argument(
        "--accuracy",
        type=float,
        metavar="PX",
        help="how far --precision auto may move the sure keypoints, 99 of 100, from those in fp32 (default: 0.2)",
    )
    parser.add_argument(
        "--choose-again",
        action="store_true",
        help="measure anew what auto chooses, and not take what was chosen for this bundle, machine and frame size "
        "before",
    )
