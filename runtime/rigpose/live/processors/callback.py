"""A function or object of the user's own as an output.

A function is called with the ``LivePose``. An object with a method ``process``, such as a processor that was written
for DeepLabCut-Live, gets its array: (K, 3) x, y [frame px], score for models of one animal, (N, K, 3) for others, with

    frame_time  when the frame was exposed, by ``time.time()`` [s]
    pose_time   when its poses were there, by ``time.time()`` [s]
    record      whether the run is recorded

as far as it takes keyword arguments. What it returns is nobody's business here. It may also have ``safe()``, called
when poses are stale, and ``close()`` and ``save(file)``, called at the end.

It runs in a thread of its own: it may sleep and wait for hardware, and meanwhile misses poses; what it raises is a
fault of this output alone.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from rigpose.live.clock import Clock, now
from rigpose.live.faults import LiveError
from rigpose.live.live_pose import LivePose
from rigpose.live.processors.pose_array import has_one_animal, pose_array
from rigpose.models.model_spec import ModelSpec
from rigpose.schema import suggest

_KEYWORDS = ("frame_time", "pose_time", "record")


class CallbackOutput:
    """One function, object, or class that is made an object when the run begins.

    Args:
        callback: See the module.
        spec: What the poses are of.
        arguments: Of the class.
        name: For people.
        record: What objects are told of it.
        save_to: What ``save`` is called with at the end; none to leave it out.
        clock: The run's.
    """

    def __init__(  # noqa: PLR0913  # what may be said of somebody else's code
        self,
        callback: Any,
        spec: ModelSpec,
        *,
        arguments: Mapping[str, Any] | None = None,
        name: str | None = None,
        record: bool = False,
        save_to: str | Path | None = None,
        clock: Clock = now,
    ) -> None:
        self.name = name or f"python:{getattr(callback, '__name__', type(callback).__name__)}"
        if not callable(callback) and not hasattr(callback, "process"):
            raise LiveError(f"{self.name}: is neither a function nor has it a method process; name one that is.")
        if arguments and not inspect.isclass(callback):
            raise LiveError(f"{self.name}: is no class and takes no arguments; leave out {next(iter(arguments))}.")
        self._made_of, self._arguments = callback, dict(arguments or {})
        self._one_animal = has_one_animal(spec)
        self._record, self._save_to, self._clock = record, save_to, clock
        self._callback: Any = None
        self._keywords: tuple[str, ...] = ()

    def open(self) -> None:
        """Make the object, if it is a class.

        Raises:
            LiveError: The class raises, or makes nothing that can be called.
        """
        made = self._made_of
        if inspect.isclass(made):
            made = self._called("be made", made, **self._arguments)
        process = getattr(made, "process", None)
        if not callable(made if process is None else process):
            raise LiveError(f"{self.name}: has no method process; add one, or name a function.")
        self._keywords = () if process is None else _taken(process)
        self._callback = made

    def send(self, pose: LivePose) -> None:
        """Call it.

        Raises:
            LiveError: It raised; the sentence says what and where.
        """
        process = getattr(self._callback, "process", None)
        if process is None:
            self._called("take a pose", self._callback, pose)
            return
        to_unix = time.time() - self._clock()
        values = {
            "frame_time": pose.stamps.exposed + to_unix,
            "pose_time": pose.stamps.found + to_unix,
            "record": self._record,
        }
        array = pose_array(pose.poses, one_animal=self._one_animal)
        self._called("take a pose", process, array, **{key: values[key] for key in self._keywords})

    def safe(self) -> None:
        """Tell it, if it wants to know."""
        self._told("safe")

    def close(self) -> None:
        """Let it save and close."""
        if self._callback is None:
            return
        try:
            self._told("safe")
            if self._save_to is not None:
                self._told("save", str(self._save_to))
            self._told("close")
        finally:
            self._callback = None

    def _told(self, method: str, *arguments: str) -> None:
        if callable(called := getattr(self._callback, method, None)):
            self._called(method, called, *arguments)

    def _called(self, what: str, called: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        try:
            return called(*arguments, **keywords)
        except Exception as error:
            raise LiveError(f"{self.name}: could not {what} ({said(error)}); see there.") from error


def open_callback(
    place: str, spec: ModelSpec, settings: Mapping[str, str], *, name: str, clock: Clock = now
) -> CallbackOutput:
    """Load what ``FILE.py:NAME`` or ``package.module:NAME`` names. This runs the user's file, as they asked for.

    Args:
        place: As above. A file may import its neighbours.
        spec: What the poses are of.
        settings: Arguments of a class, read as YAML; ``save`` is what its ``save`` is called with.
        name: For people.
        clock: The run's.

    Raises:
        LiveError: There is no such file, module or name, or loading it raises.
    """
    module_name, colon, wanted = place.rpartition(":")
    if not colon or not module_name or not wanted:
        raise LiveError(f"{name}: write FILE.py:NAME or package.module:NAME.")
    module = _loaded(module_name, name)
    callback = getattr(module, wanted, None)
    if callback is None:
        near = suggest(wanted, [known for known in vars(module) if not known.startswith("_")])
        raise LiveError(f"{name}: {module_name} has no {wanted}{near}.")
    try:
        values = {key: yaml.safe_load(value) for key, value in settings.items()}
    except yaml.YAMLError as error:
        raise LiveError(f"{name}: an argument after ? is no YAML value; put text with signs into quotes.") from error
    save_to = values.pop("save", None)
    return CallbackOutput(callback, spec, arguments=values, name=name, save_to=save_to, clock=clock)


def said(error: Exception) -> str:
    """What an exception of somebody else's code is and where it was raised, in half a sentence."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f", line {frames[-1].lineno} of {frames[-1].filename}" if frames else ""
    text = " ".join(str(error).split()).removesuffix(".")
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


def _loaded(module_name: str, name: str) -> ModuleType:
    path = Path(module_name).resolve() if module_name.endswith(".py") else None
    if path is not None and not path.is_file():
        raise LiveError(f"{name}: there is no file {path}; check its name.")
    try:
        return importlib.import_module(module_name) if path is None else _run(path)
    except Exception as error:
        raise LiveError(f"{name}: {module_name} cannot be loaded ({said(error)}); see there.") from error


def _run(path: Path) -> ModuleType:
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    name = f"rigpose_callback:{path}"  # no name that anybody imports
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # where dataclasses look for it
    SourceFileLoader(name, str(path)).exec_module(module)
    return module


def _taken(process: Callable[..., Any]) -> tuple[str, ...]:
    """Which of our keyword arguments it takes."""
    try:
        parameters = inspect.signature(process).parameters.values()
    except (TypeError, ValueError):  # written in C
        return ()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return _KEYWORDS
    named = {parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY}
    return tuple(key for key in _KEYWORDS if key in named)
