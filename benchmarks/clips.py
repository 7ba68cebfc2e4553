"""Videos to measure on: drawn ones, and the beginnings of others. Each is written once and kept."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2

from rigpose.errors import MediaError
from rigpose.videos.video import Video


def drawn_video(cache: Path, *, height: int, width: int, frames: int, animals: int = 3) -> Path:
    """An encoded video of drawn animals, as large as asked for."""
    from rigpose_training.scene.project import write_video
    from rigpose_training.scene.world import Scene

    path = cache / f"drawn-{animals}-{width}x{height}-{frames}.mp4"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        write_video(path, Scene(seed=5, size=(height, width), animals=animals), frames)
    return path


def first_frames(video: Path, frames: int, folder: Path | None = None) -> Path:
    """The beginning of a video as a video of its own; from its front again where it has fewer frames."""
    clip = (folder or video.parent) / f"{video.stem}-first{frames}.mp4"
    if clip.exists():
        return clip
    clip.parent.mkdir(parents=True, exist_ok=True)
    part = clip.with_name(f".{clip.stem}.part.mp4")
    with Video(video) as source:
        size, rate = (source.width, source.height), source.frames_per_second or 30.0
    writer = cv2.VideoWriter(str(part), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    if not writer.isOpened():
        raise MediaError(f"{clip}: OpenCV cannot write a video there; check the folder.")
    written = 0
    while written < frames:
        with Video(video) as source:
            for frame in islice(source.frames(), frames - written):
                writer.write(frame.image)
                written += 1
    writer.release()
    part.rename(clip)
    return clip
