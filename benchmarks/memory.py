"""Whether memory stays flat over a long video: ``memory.py [--frames 60000]``.

Draws a video, analyses it with a network that costs next to nothing, and notes the process's resident size when a tenth
of the frames are in the journal, when all are, and when the result files are written. Prints them, and appends a JSON
line to ``benchmarks/results/memory.jsonl``. Everything that a first batch allocates is there long before the tenth.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from record import record
from tiny_network import IDENTITY, tiny_analyzer

from rigpose.decoding.decoder import NAMES
from rigpose.progress import Advance
from rigpose.videos.analysis import AnalysisOptions, analyze_video


def main() -> None:
    """Measure, print, and append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=160)
    parser.add_argument("--height", type=int, default=96)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--decoder", choices=NAMES, default="auto")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = draw(Path(folder) / "long.mp4", arguments.frames, arguments.width, arguments.height)
        begun = time.process_time()
        sizes = resident_sizes(video, arguments.frames, arguments.batch, arguments.decoder)
        seconds = time.process_time() - begun
    ratio = sizes["all frames"] / sizes["a tenth"]
    print(", ".join(f"{when}: {size / 2**20:.1f} MiB" for when, size in sizes.items()))
    print(f"all frames over a tenth: {ratio:.3f}")
    line = {
        **{name: getattr(arguments, name) for name in ("frames", "width", "height", "batch", "decoder")},
        "resident_mib": {when: round(size / 2**20, 1) for when, size in sizes.items()},
        "ratio": round(ratio, 3),
        "cpu_ms_per_frame": round(1000 * seconds / arguments.frames, 3),
    }
    print(f"appended to {record('memory', line)}")


def draw(path: Path, frames: int, width: int, height: int) -> Path:
    """A video of a bright spot that goes round."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (width, height))
    if not writer.isOpened():
        raise SystemExit(f"{path}: OpenCV cannot write this video.")
    image = np.full((height, width, 3), 40, np.uint8)
    for number in range(frames):
        angle = number / 50
        centre = (int(width * (0.5 + 0.3 * np.cos(angle))), int(height * (0.5 + 0.3 * np.sin(angle))))
        drawn = image.copy()
        cv2.circle(drawn, centre, height // 10, (60, 160, 230), -1)
        writer.write(drawn)
    writer.release()
    return path


def resident_sizes(video: Path, frames: int, batch: int, decoder: str) -> dict[str, int]:
    """Bytes of this process in memory at three moments of an analysis."""
    sizes: dict[str, int] = {}
    done = 0

    @contextmanager
    def watch(_description: str, _total: int | None, _unit: str) -> Iterator[Advance]:
        def advance(count: int, note: str = "") -> None:
            nonlocal done
            del note
            done += count
            for when, number in (("a tenth", frames // 10), ("all frames", frames)):
                if done >= number:
                    sizes.setdefault(when, resident_size())

        yield advance

    options = AnalysisOptions(batch=batch, destination=video.parent, decoder=decoder)
    result = analyze_video(tiny_analyzer(), video, identity=IDENTITY, options=options, show=watch)
    if result.frames != frames:
        raise SystemExit(f"{video}: {result.frames} of {frames} frames were analysed.")
    return {**sizes, "result files": resident_size()}


def resident_size() -> int:
    """Bytes of this process in memory; Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
