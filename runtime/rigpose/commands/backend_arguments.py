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
        help="onnxruntime, or openvino, which runs on the CPU (default: %(default)s)",
    )
    parser.add_argument(
        "--precision",
        help="fp32; or with openvino bf16: faster where the processor has it, and keypoints of a trained model move "
        "by some hundredths of a pixel (default: fp32)",
    )
