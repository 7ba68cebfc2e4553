"""Images per second that the training loader delivers, without any network.

python benchmarks/loader_rate.py PROJECT/config.yaml --shuffle 1 --workers 0 2
"""

from __future__ import annotations

import argparse
import time

from rigpose_training.data.batches import Batching, TrainingBatches
from rigpose_training.data.loaders import DLCLoader
from rigpose_training.data.transforms import build_transforms


def images_per_second(loader: DLCLoader, batching: Batching, *, epochs: int) -> tuple[float, float]:
    """Rate of the first epoch, which decodes every image, and of the ones after it, which find them in memory."""
    dataset = loader.create_dataset(build_transforms(loader.model_cfg["data"]["train"]), "train")
    batches = TrainingBatches(dataset, batching)
    seconds = []
    for epoch in range(1, epochs + 2):
        begun = time.perf_counter()
        delivered = sum(len(batch["path"]) for batch in batches.epoch(epoch))
        seconds.append((time.perf_counter() - begun) / delivered)
    return 1 / seconds[0], epochs / sum(seconds[1:])


def main() -> None:
    """Print one line per number of workers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="a project's config.yaml")
    parser.add_argument("--shuffle", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    options = parser.parse_args()
    loader = DLCLoader(options.config, shuffle=options.shuffle)
    print(f"{len(loader.images('train'))} images, {loader.model_cfg['data']['train'].get('crop_sampling')}")
    for workers in options.workers:
        batching = Batching(batch_size=options.batch_size, workers=workers)
        first, later = images_per_second(loader, batching, epochs=options.epochs)
        print(f"{workers} workers: first epoch {first:.0f} images/s, later epochs {later:.0f} images/s")


if __name__ == "__main__":
    main()
