"""A trained shuffle of a real project, from its labels to a video: error, parity and frames per second.

    python benchmarks/openfield.py PROJECT --shuffle 1 --video videos/m3v1mp4.mp4

Evaluates the snapshot, exports it, analyses the video, prints the figures and appends them to
``benchmarks/results/openfield.jsonl``. How the snapshot was trained is up to the caller; say it with ``--trained``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from record import record

from rigpose.bundles.certificate import read_certificate
from rigpose.files.results import read_results
from rigpose.load import load
from rigpose.videos.analysis import AnalysisOptions
from rigpose_export.analysis import kept_bundle
from rigpose_export.source import shuffle_source
from rigpose_training.evaluation.evaluate import evaluate_network
from rigpose_training.project.config import read_project_config


def main() -> None:
    """Measure, print, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--shuffle", type=int, default=1)
    parser.add_argument("--video", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--trained", default="", help="how the snapshot was trained, in words")
    arguments = parser.parse_args()

    project = read_project_config(arguments.project)
    row = evaluate_network(project.path, shuffles=(arguments.shuffle,)).iloc[-1]
    bundle = kept_bundle(project, shuffle_source(project, shuffle=arguments.shuffle))
    cases = read_certificate(bundle).cases
    analyzer = load(bundle, device=arguments.device)
    with tempfile.TemporaryDirectory() as folder:
        options = AnalysisOptions(batch=arguments.batch, destination=Path(folder))
        result = analyzer.analyze(arguments.video, options)
        scores = read_results(result.h5).score
    figures = {
        "scorer": bundle.manifest.scorer,
        "trained": arguments.trained,
        "train_error_px": round(float(row["train rmse"]), 2),
        "test_error_px": round(float(row["test rmse"]), 2),
        "train_mAP": round(float(row["train mAP"]), 2),
        "test_mAP": round(float(row["test mAP"]), 2),
        "parity_worst_px": max(case.difference.worst_px for case in cases),
        "parity_worst_score": max(case.difference.worst_score for case in cases),
        "video": arguments.video.name,
        "frames": result.frames,
        "frames_per_second": round(result.frames_per_second, 2),
        "device": analyzer.session.device,
        "batch": arguments.batch,
        "confident_share": round(float(np.mean(scores >= bundle.manifest.display.pcutoff)), 4),
    }
    for name, value in figures.items():
        print(f"{name:<20} {value}")
    print(f"appended to {record('openfield', figures)}")


if __name__ == "__main__":
    main()
