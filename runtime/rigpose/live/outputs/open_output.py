"""The words that a user types -> an output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from rigpose.live.clock import Clock, now
from rigpose.live.faults import LiveError
from rigpose.live.outputs.lsl import LslOutput
from rigpose.live.outputs.osc import OscOutput
from rigpose.live.outputs.output import Output
from rigpose.live.outputs.serial_line import SerialOutput, Wiring
from rigpose.live.outputs.zeromq import ZeroMqOutput
from rigpose.live.processors.callback import open_callback
from rigpose.models.model_spec import ModelSpec
from rigpose.schema import suggest

LOCAL = "127.0.0.1"
"""Where nobody names an address, nothing leaves the computer."""


def open_output(text: str, spec: ModelSpec, rules: Sequence[str] = (), clock: Clock = now) -> Output:
    """Make the output that a text describes; it is opened by the run.

    ``zmq://127.0.0.1:5555``, with ``?connect=yes`` for a subscriber that binds; ``osc://127.0.0.1:9000``;
    ``serial:///dev/ttyACM0?baud=115200&bits=lick,rear``, see ``serial_line`` for what else it drives;
    ``lsl://NAME?animals=2&camera=top``; ``python:FILE.py:NAME`` and ``python:package.module:NAME``, where what follows
    ``?`` are the arguments of a class, and ``save=FILE`` where it is to save at the end.

    Args:
        text: As above; an address that is left out is this computer's own.
        spec: What the poses are of.
        rules: Names of the run's trigger rules.
        clock: The run's.

    Raises:
        LiveError: The text makes no sense, or names a rule that there is not.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in _KINDS:
        raise LiveError(
            f"{text}: is no output{suggest(scheme, _KINDS)}; begin with one of {', '.join(f'{k}:' for k in _KINDS)}."
        )
    path, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    except ValueError as error:
        raise LiveError(f"{text}: what follows ? must be KEY=VALUE, joined by &.") from error
    settings = dict(pairs)
    if len(settings) != len(pairs):
        raise LiveError(f"{text}: says something twice after ?; say it once.")
    name = f"{scheme}:{path}"
    return _KINDS[scheme](_Asked(name, unquote(path.removeprefix("//")), settings, spec, tuple(rules), clock))


class _Asked:
    """What a text said.

    Attributes:
        name: The text without its settings.
        place: What is between the scheme and the settings.
        spec: What the poses are of.
        rules: Names of the run's trigger rules.
        clock: The run's.
    """

    def __init__(
        self, name: str, place: str, settings: dict[str, str], spec: ModelSpec, rules: tuple[str, ...], clock: Clock
    ) -> None:
        self.name, self.place, self.spec, self.rules, self.clock = name, place, spec, rules, clock
        self._settings = settings
        if not place:
            raise LiveError(f"{name}: names nothing; write where poses go behind it.")

    def only(self, *known: str, starts: tuple[str, ...] = ()) -> dict[str, str]:
        """The settings, all of which are known."""
        for key in self._settings:
            if key not in known and not key.startswith(starts or ("\0",)):
                kinds = ", ".join(known) or "none"
                raise LiveError(f"{self.name}: unknown setting {key}{suggest(key, known)}; it has {kinds}.")
        return self._settings

    @property
    def all(self) -> dict[str, str]:
        """The settings, whatever they are."""
        return self._settings

    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(f"//{self.place}" if ":" in self.place else f"//{LOCAL}:{self.place}")
        try:
            port = parts.port
        except ValueError:
            port = None
        if not port or parts.path or parts.username:
            raise LiveError(f"{self.name}: write an address and a port from 1 to 65535, such as {LOCAL}:5555.")
        return parts.hostname or LOCAL, port

    def whole(self, key: str, default: int | None) -> int | None:
        """A setting that is a number, 1 or more."""
        text = self._settings.get(key)
        if text is None:
            return default
        if not text.isdecimal() or int(text) < 1:
            raise LiveError(f"{self.name}: {key} is {text!r}; give a whole number, 1 or more.")
        return int(text)


def _zeromq(asked: _Asked) -> Output:
    connect = asked.only("connect").get("connect", "no")
    if connect not in ("yes", "no"):
        raise LiveError(f"{asked.name}: connect is {connect!r}; give yes or no.")
    host, port = asked.address()
    endpoint = f"tcp://{f'[{host}]' if ':' in host else host}:{port}"
    return ZeroMqOutput(endpoint, asked.spec, connect=connect == "yes", name=asked.name, clock=asked.clock)


def _osc(asked: _Asked) -> Output:
    asked.only()
    return OscOutput(*asked.address(), asked.spec, name=asked.name)


def _serial(asked: _Asked) -> Output:
    given = asked.only("baud", "rts", "dtr", "bits", "heartbeat", starts=("on.", "off."))
    try:
        wiring = Wiring(
            rts=given.get("rts"),
            dtr=given.get("dtr"),
            bits=tuple(given["bits"].split(",")) if "bits" in given else (),
            on={key[3:]: _bytes(value) for key, value in given.items() if key.startswith("on.")},
            off={key[4:]: _bytes(value) for key, value in given.items() if key.startswith("off.")},
            heartbeat=_bytes(given["heartbeat"]) if "heartbeat" in given else b"",
        )
    except (LiveError, ValueError) as error:
        raise LiveError(f"{asked.name}: {error}") from error
    for rule in wiring.rules:
        if rule not in asked.rules:
            known = f"the run has {', '.join(asked.rules)}" if asked.rules else "give a file of rules"
            raise LiveError(f"{asked.name}: there is no trigger rule {rule}{suggest(rule, asked.rules)}; {known}.")
    baud = asked.whole("baud", 115200)
    return SerialOutput(asked.place, wiring, baud=baud or 115200, name=asked.name)


def _lsl(asked: _Asked) -> Output:
    camera = asked.only("animals", "camera").get("camera")
    return LslOutput(asked.place, asked.spec, animals=asked.whole("animals", None), camera=camera, clock=asked.clock)


def _python(asked: _Asked) -> Output:
    return open_callback(asked.place, asked.spec, asked.all, name=asked.name, clock=asked.clock)


def _bytes(text: str) -> bytes:
    """``0x31`` or ``0x3130`` are bytes by number; all else is the text itself."""
    if not text.startswith("0x"):
        return text.encode()
    try:
        return bytes.fromhex(text[2:])
    except ValueError as error:
        raise ValueError(f"{text} are no bytes; write two digits for each, such as 0x0A.") from error


_KINDS: dict[str, Callable[[_Asked], Output]] = {
    "zmq": _zeromq,
    "osc": _osc,
    "serial": _serial,
    "lsl": _lsl,
    "python": _python,
}
