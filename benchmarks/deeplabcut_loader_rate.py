"""DeepLabCut's own training loader, timed for ``loader_rate.py``, which runs this with a Python that has DeepLabCut.

Takes the request as JSON and says ``ready``; then loads some epochs for each line on standard input, and answers
``rate IMAGES_PER_SECOND``.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main() -> None:
    """Answer until standard input ends."""
    from deeplabcut.pose_estimation_pytorch.data import DLCLoader, build_transforms  # pyright: ignore[reportMissingImports]
    from deeplabcut.pose_estimation_pytorch.data.collate import COLLATE_FUNCTIONS  # pyright: ignore[reportMissingImports]
    from deeplabcut.pose_estimation_pytorch.task import Task  # pyright: ignore[reportMissingImports]
    from torch.utils.data import DataLoader

    request: dict[str, Any] = json.loads(sys.argv[1])
    section = request["section"]
    loader = DLCLoader(request["config"], shuffle=request["shuffle"])
    dataset = loader.create_dataset(build_transforms(section), "train", Task[request["task"]])
    collate = COLLATE_FUNCTIONS.build(section["collate"]) if section.get("collate") else None
    batches = DataLoader(
        dataset,
        batch_size=request["batch_size"],
        shuffle=True,
        collate_fn=collate,
        num_workers=request["workers"],
        persistent_workers=request["workers"] > 0,
    )
    print("ready", flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        delivered = sum(len(batch["path"]) for _ in range(request["epochs"]) for batch in batches)
        print(f"rate {delivered / (time.perf_counter() - begun)}", flush=True)


if __name__ == "__main__":
    main()
