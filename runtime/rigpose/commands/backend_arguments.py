"""The arguments that say what runs a bundle's graphs."""

from __future__ import annotations

import argparse


def add_backend_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, ``--backend`` and ``--precision``."""
    parser.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda, cuda:N, or auto: the GPU where there is one (default: %(default)s)",
    )
    parser.add_argument(
        "--backend",
        default="onnxruntime",
        help="onnxruntime; openvino, which runs on the CPU; tensorrt, with engines that rigpose engine built; or "
        "onnxruntime-tensorrt, which builds its own when it first runs, by TensorRT 10 (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        help="fp32; fp16 for GPUs (onnxruntime on the CPU takes it, too, and computes in fp32: no faster); "
        "int8 for CPUs and for tensorrt; or with openvino bf16, which every bundle can: faster where the processor has "
        "it, and keypoints of a trained model move by some hundredths of a pixel (default: fp32)",
    )
