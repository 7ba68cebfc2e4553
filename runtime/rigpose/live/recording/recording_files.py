"""Where the parts of a recording lie, and that no recording ever takes the place of another."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rigpose.errors import ResultError
from rigpose.files.results import ResultFiles
from rigpose.live.faults import LiveError
from rigpose.lock import only_process

_SIDE_CAR = "_frames.csv"


@dataclass(frozen=True)
class RecordingFiles:
    """The files of one camera in the folder of a run.

    Attributes:
        folder: Of the run.
        stem: The camera's name, as far as it fits a file name.
    """

    folder: Path
    stem: str

    @classmethod
    def of(cls, folder: Path, camera: str) -> RecordingFiles:
        """Those of a camera, whose name may be an address or a path."""
        return cls(folder, re.sub(r"[^\w.-]+", "_", camera).strip("._") or "camera")

    @classmethod
    def all_in(cls, folder: Path) -> list[RecordingFiles]:
        """Those of each camera that was recorded into this folder."""
        return [cls(folder, path.name.removesuffix(_SIDE_CAR)) for path in sorted(folder.glob(f"*{_SIDE_CAR}"))]

    @property
    def side_car(self) -> Path:
        """Numbers and times of the frames, as text."""
        return self.folder / f"{self.stem}{_SIDE_CAR}"

    @property
    def poses(self) -> Path:
        """Everything that was found, as it came."""
        return self.folder / f"{self.stem}.poses"

    @property
    def video(self) -> Path:
        """The pictures."""
        return self.folder / f"{self.stem}.mp4"

    def tables(self, scorer: str) -> ResultFiles:
        """DeepLabCut's files, named as if the video had been analysed."""
        return ResultFiles(self.folder, f"{self.stem}{scorer}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep everybody else from these files.

        Raises:
            LiveError: They are being recorded, or finished, by another process or by this one.
        """
        lock = self.folder / f"{self.stem}.lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LiveError(f"{self.folder}: cannot be made ({error.strerror}); choose another folder.") from error
        with _only_one(lock):
            yield

    def refuse_existing(self) -> None:
        """See that there is no recording yet.

        Raises:
            LiveError: There is one.
        """
        there = [path for path in (self.side_car, self.poses, self.video) if path.exists()]
        if there:
            raise LiveError(
                f"{there[0]}: is there already, and no recording takes the place of another; choose another folder."
            )


def new_run_folder(parent: Path, begun: datetime) -> Path:
    """Make a folder in ``parent`` that is named after the time, and numbered where there is one of that name.

    Raises:
        LiveError: It cannot be made.
    """
    name, number = begun.strftime("%Y-%m-%d_%H-%M-%S"), 1
    while True:
        folder = parent / (name if number == 1 else f"{name}_{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise LiveError(f"{folder}: cannot be made ({error.strerror}); choose another folder.") from error
        else:
            return folder


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    holding = only_process(lock)
    try:
        holding.__enter__()
    except ResultError as error:
        raise LiveError(
            f"{lock}: the recording is in the hands of another process, or the folder cannot be written; let that one "
            "end, or choose another folder."
        ) from error
    try:
        yield
    finally:
        holding.__exit__(None, None, None)
