"""The only way from a mapping (YAML, JSON) to a frozen dataclass: strict, with the place and the nearest name."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Collection, Mapping
from typing import Any, TypeVar, cast

from rigpose.errors import ConfigError

T = TypeVar("T")


def parse(cls: type[T], mapping: object, *, where: str, ignored: Collection[str] = ()) -> T:
    """Build ``cls`` from a mapping whose keys are its fields.

    Args:
        cls: A dataclass; nested dataclasses, optionals, tuples, lists, dicts and literals are followed.
        mapping: What the file held.
        where: File and key path, for the message.
        ignored: Keys that belong to somebody else and are passed over.

    Raises:
        ConfigError: An unknown key (the nearest known one is named), a missing one, or a wrong type.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: expected a mapping of {cls.__name__} fields, found {_kind(mapping)}.")
    fields = {f.name: f for f in dataclasses.fields(cast(Any, cls)) if f.init}
    given = {str(key): value for key, value in mapping.items()}
    for key in given:
        if key not in fields and key not in ignored:
            raise ConfigError(f"{where}.{key}: unknown key{suggest(key, [*fields, *ignored])}.")
    hints = typing.get_type_hints(cls)
    values = {}
    for name, field in fields.items():
        if name in given:
            values[name] = convert(hints[name], given[name], where=f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}.{name}: missing; add it or write the file again with rigpose.")
    return cls(**values)


def convert(hint: Any, value: Any, *, where: str) -> Any:
    """Return ``value`` as the type ``hint`` names, or raise ``ConfigError`` with the place."""
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint):
        return parse(cast(type[Any], hint), value, where=where)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(args, value, where)
    if origin is typing.Literal:
        if value not in args:
            raise ConfigError(f"{where}: {value!r} is none of {', '.join(map(repr, args))}{suggest(value, args)}.")
        return value
    if origin in (list, tuple):
        return _convert_sequence(origin, args, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a mapping, found {_kind(value)}.")
        return {convert(args[0], k, where=where): convert(args[1], v, where=f"{where}.{k}") for k, v in value.items()}
    return _convert_scalar(hint, value, where)


def suggest(word: object, known: Collection[object]) -> str:
    """Return ``; did you mean X`` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(str(word), [str(k) for k in known], n=1, cutoff=0.6)
    return f"; did you mean {near[0]}" if near else ""


def to_mapping(value: object) -> Any:
    """Turn dataclasses into plain dicts and tuples into lists, ready for a YAML file."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_mapping(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {k: to_mapping(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_mapping(v) for v in value]
    return value


def _convert_union(args: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in args:
        return None
    options = [a for a in args if a is not type(None)]
    for option in options[:-1]:
        if (converted := _attempt(option, value, where)) is not None:
            return converted
    return convert(options[-1], value, where=where)


def _attempt(hint: Any, value: Any, where: str) -> Any:
    try:
        return convert(hint, value, where=where)
    except ConfigError:
        return None


def _convert_sequence(origin: type, args: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where}: expected a list, found {_kind(value)}.")
    if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
        if len(args) != len(value):
            raise ConfigError(f"{where}: expected {len(args)} values, found {len(value)}.")
        return tuple(convert(a, v, where=f"{where}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True)))
    return origin(convert(args[0], v, where=f"{where}[{i}]") for i, v in enumerate(value))


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is float and isinstance(value, str):
        # YAML 1.1 reads 1e-05 (no dot), as DeepLabCut's writer puts it, as a string.
        try:
            return float(value)
        except ValueError:
            pass
    if hint in (int, str, bool) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise ConfigError(f"{where}: expected {getattr(hint, '__name__', hint)}, found {_kind(value)}.")


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {value!r}"[:80]
