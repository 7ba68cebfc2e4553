"""GenTL producers, the drivers of GenICam cameras: opened once in a process, for all cameras behind them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rigpose.errors import MissingExtraError
from rigpose.live.faults import LiveError

if TYPE_CHECKING:
    from harvesters.core import Harvester, ImageAcquirer

PATH_VARIABLE = "GENICAM_GENTL64_PATH"
"""Where makers' installers say their producers are."""
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Device:
    """A camera that a producer knows. ``info`` is harvesters' own."""

    serial: str
    model: str
    harvester: Harvester
    info: Any


@dataclass
class _Shared:
    harvester: Harvester
    users: int = 0


_shared: dict[Path, _Shared] = {}
_sharing = threading.Lock()


class Producers:
    """Some producers, open for as long as this lives.

    The standard lets a process open each of them once, so a second camera behind it must share what the first one
    opened. What is plugged in later is seen when all cameras of a producer are closed: looking anew closes them.
    """

    def __init__(self, files: tuple[Path, ...]) -> None:
        """Open them, or share them.

        Args:
            files: The ``.cti`` files; those in the folders of ``GENICAM_GENTL64_PATH`` if none are given.

        Raises:
            LiveError: There are none, or one is not for this machine.
            MissingExtraError: Harvesters is not installed.
        """
        core = _library()
        self._files: list[Path] = []
        files = files or _installed()
        if not files:
            raise LiveError(
                f"genicam: no GenTL producer was found; install the camera maker's, which sets {PATH_VARIABLE}, or "
                "name its .cti file."
            )
        try:
            for path in dict.fromkeys(file.resolve() for file in files):
                _borrow(core, path)
                self._files.append(path)
        except LiveError:
            self.close()
            raise

    def devices(self) -> list[Device]:
        """Every camera that they know; where one says no serial number, its id stands for it."""
        found = []
        for path in self._files:
            harvester = _shared[path].harvester
            for info in harvester.device_info_list:
                serial = tried(lambda info=info: info.serial_number, "") or info.id_
                found.append(Device(str(serial), str(tried(lambda info=info: info.model, "")), harvester, info))
        return found

    def create(self, device: Device) -> ImageAcquirer:
        """Take a camera; raises one of ``driver_errors`` where somebody has it."""
        return device.harvester.create(device.info)

    def close(self) -> None:
        """Let go of them; who opened last closes."""
        files, self._files = self._files, []
        for path in files:
            _give_back(path)


def driver_errors() -> tuple[type[Exception], ...]:
    """What harvesters raises."""
    from genicam.genapi import GenericException as GenApiError
    from genicam.gentl import GenericException as GenTlError

    return (GenApiError, GenTlError)


def tried(ask: Callable[[], _Answer], otherwise: _Answer) -> _Answer:
    """What a producer answers, or ``otherwise`` where it has no answer: most of GenTL is optional."""
    try:
        return ask()
    except (*driver_errors(), AttributeError):
        return otherwise


def _borrow(core: Any, path: Path) -> None:
    with _sharing:
        if path not in _shared:
            # Its own log repeats what the exceptions say.
            logging.getLogger("harvesters").setLevel(logging.CRITICAL)
            harvester = core.Harvester()
            try:
                harvester.add_file(str(path), check_existence=True, check_validity=True)
            except OSError as error:
                raise LiveError(
                    f"{path}: is no GenTL producer for this machine ({error or 'there is no such file'}); install the "
                    "camera maker's for it."
                ) from error
            harvester.update()
            _shared[path] = _Shared(harvester)
        _shared[path].users += 1


def _give_back(path: Path) -> None:
    with _sharing:
        shared = _shared[path]
        shared.users -= 1
        if not shared.users:
            del _shared[path]
            # A producer whose camera is gone may refuse; there is nothing more to be done about it.
            tried(shared.harvester.reset, None)


def _library() -> Any:
    try:
        from harvesters import core
    except ImportError as error:
        raise MissingExtraError(
            f'harvesters, which GenICam cameras need, is missing ({error}); pip install "rigpose[genicam]".'
        ) from error
    return core


def _installed() -> tuple[Path, ...]:
    folders = [Path(folder) for folder in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if folder]
    return tuple(sorted(path for folder in folders if folder.is_dir() for path in folder.glob("*.cti")))
