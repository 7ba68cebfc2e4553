"""What of ``rigpose live`` makes no sense together, and places that cannot be written: found before anything runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from rigpose.commands.live_arguments import add_model_arguments
from rigpose.errors import ConfigError
from rigpose.live.recording.recording_files import RecordingFiles
from rigpose.live.sources.frame_source import FrameSource
from rigpose.live.sources.opencv_camera import OpencvCamera
from rigpose.live.sources.simulated import SimulatedCamera
from rigpose.live.sources.video_file import VideoFileSource
from rigpose.writable import check_writable

CHANGES = "triggers.csv"
"""When rules went on and off, in the folder of a recording."""

_RECORDED = (VideoFileSource,)
_DRAWN = (SimulatedCamera,)
_NO_PIXEL_FORMATS = (*_RECORDED, *_DRAWN, OpencvCamera)
_DEAF: dict[str, tuple[tuple[type, ...], str]] = {
    "fps": (_RECORDED, "a video file has its own rate"),
    "size": (_RECORDED, "a video file has its own size"),
    "exposure": ((*_RECORDED, *_DRAWN), "neither video files nor simulated cameras have one"),
    "trigger_line": ((*_RECORDED, *_DRAWN), "neither video files nor simulated cameras have one"),
    "pixel_format": (_NO_PIXEL_FORMATS, "GenICam and Basler cameras alone can be asked for one"),
}
"""Setting -> the kinds of source that know nothing of it, and why."""


def check_options(typed: argparse.Namespace) -> None:
    """See that no option is given in vain.

    Raises:
        ConfigError: One needs another that is not there.
    """
    if typed.bundle is None:
        _check_demonstration(typed)
    elif typed.bundle.is_file():
        raise ConfigError(
            f"{typed.bundle}: is a file, and a bundle is a folder; a video is played with: rigpose live BUNDLE "
            f"--source {typed.bundle}."
        )
    if typed.predict is None:
        for name in ("lead", "actuator"):
            if getattr(typed, name) is not None:
                raise ConfigError(f"{name}: nothing predicts in this run; add --predict FILE, or leave it out.")
    if typed.codec is not None and typed.record is None:
        raise ConfigError("codec: nothing is recorded in this run; add --record FOLDER, or leave it out.")


def check_settings(typed: argparse.Namespace, sources: Sequence[FrameSource]) -> None:
    """See that each setting of cameras is one of at least one of these.

    Raises:
        ConfigError: None of them knows it.
    """
    for name, (deaf, why) in _DEAF.items():
        if getattr(typed, name) is not None and all(isinstance(source, deaf) for source in sources):
            raise ConfigError(f"{_said(name)}: {why}; leave it out.")
    for name in ("unpaced", "loop"):
        if getattr(typed, name) and not any(isinstance(source, VideoFileSource) for source in sources):
            raise ConfigError(f"{name}: is for video files, and none is played in this run; leave it out.")


def check_places(typed: argparse.Namespace, cameras: Sequence[str]) -> None:
    """See that all that is to be written can be, and takes no recording's place.

    Args:
        typed: What was typed.
        cameras: Names.

    Raises:
        ConfigError: Something is in the way.
        LiveError: There is a recording in the folder already.
    """
    files = {name: getattr(typed, name) for name in ("report", "summary") if getattr(typed, name) is not None}
    for name, file in files.items():
        if file.is_dir():
            raise ConfigError(f"{name}: {file} is a folder; name a file.")
        check_writable(file.parent, f"{name}: {file}")
    if len(files) == 2 and files["report"].resolve() == files["summary"].resolve():
        raise ConfigError(f"summary: {typed.summary} is the report's file, too; name another.")
    if typed.record is None:
        return
    check_writable(typed.record, f"record: {typed.record}")
    for camera in cameras:
        RecordingFiles.of(typed.record, camera).refuse_existing()
    changes = typed.record / CHANGES
    if typed.triggers is not None and changes.exists():
        raise ConfigError(f"{changes}: is there already, of another run; choose another folder.")


def _check_demonstration(typed: argparse.Namespace) -> None:
    of_models = argparse.ArgumentParser(add_help=False)
    add_model_arguments(of_models)
    for name, default in vars(of_models.parse_args([])).items():
        if getattr(typed, name) != default:
            raise ConfigError(
                f"{_said(name)}: is for a model, and the demonstration has none; name a BUNDLE, or leave it out."
            )


def _said(name: str) -> str:
    return name.replace("_", "-")
