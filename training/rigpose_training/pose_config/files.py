"""The only place where DeepLabCut's YAML files are read and written.

DeepLabCut writes YAML 1.2 and PyYAML reads YAML 1.1: there ``1e-05`` is a string, a body part called ``no`` is
false and ``2018-08-30`` is a date. The loader and dumper here use the scalars that both agree on.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from rigpose.errors import ConfigError, RigposeError
from rigpose.schema import suggest, to_mapping

_SCALARS = {
    "tag:yaml.org,2002:bool": (r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    "tag:yaml.org,2002:int": (r"^[-+]?[0-9]+$", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"^(?:[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        "-+.0123456789",
    ),
    "tag:yaml.org,2002:null": (r"^(?:~|null|Null|NULL|)$", "~nN\0"),
}


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # a table that PyYAML looks up on the class

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Decimal, as in YAML 1.2: ``010`` is ten."""
        return int(self.construct_scalar(node))


for _tag, (_pattern, _first) in _SCALARS.items():
    # "" is how PyYAML files the empty scalar, written \0 above because it has no first letter.
    _letters = [letter.replace("\0", "") for letter in _first]
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), _letters)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML version would take for something other than a string; writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's signature
        return True


_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(_SCALARS["tag:yaml.org,2002:float"][0]),
    list(_SCALARS["tag:yaml.org,2002:float"][1]),
)


def read_mapping(path: Path, *, error: type[RigposeError] = ConfigError) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping.

    Args:
        path: The file; UTF-8 with or without mark, UTF-16 or a Windows code page.
        error: What to raise when the file is missing or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as cause:
        reason = "does not exist" if isinstance(cause, FileNotFoundError) else f"cannot be read ({cause.strerror})"
        raise error(f"{path} {reason}; check the path.") from cause
    try:
        mapping = yaml.load(_decode(content), Loader=_Loader)
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(cause, "problem", None) or "not readable"
        raise error(f"{path} is not valid YAML{line} ({problem}); correct that line.") from cause
    if not isinstance(mapping, dict):
        raise error(f"{path} holds {type(mapping).__name__} where a mapping of settings belongs; is it another file?")
    return {str(key): value for key, value in mapping.items()}


def _decode(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Editors on Windows save umlauts in paths in the local code page; latin-1 reads every byte.
        return content.decode("latin-1")


def write_mapping(path: Path, mapping: Mapping[str, Any], *, header: str = "") -> None:
    """Write ``mapping`` as YAML, in its own order; the file appears whole or not at all."""
    text = header + yaml.dump(
        to_mapping(mapping), Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )
    temporary = path.with_name(f".writing-{path.name}")
    temporary.write_text(text, encoding="utf-8", newline="\n")
    temporary.replace(path)


def read_pose_config(path: str | Path) -> dict[str, Any]:
    """The mapping in a ``pytorch_config.yaml``, with every number a number."""
    return read_mapping(Path(path))


def write_pose_config(path: str | Path, mapping: Mapping[str, Any]) -> None:
    """Write a ``pytorch_config.yaml`` that DeepLabCut's strict schema reads, and rigpose too."""
    write_mapping(Path(path), mapping)


def update(mapping: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``mapping`` with ``{"runner.optimizer.params.lr": 1e-3}`` put in place.

    Raises:
        ConfigError: A key that the mapping does not have. Empty sections and ``params`` take any key, because
            their own readers know which ones exist.
    """
    changed = copy.deepcopy(dict(mapping))
    for dotted, value in changes.items():
        _check(mapping, dotted)
        *parents, last = dotted.split(".")
        section = changed
        for name in parents:
            if section.get(name) is None:
                section[name] = {}
            section = section[name]
        section[last] = copy.deepcopy(value)
    return changed


def _check(mapping: Mapping[str, Any], dotted: str) -> None:
    section: Any = mapping
    names = dotted.split(".")
    for depth, name in enumerate(names):
        if not isinstance(section, Mapping):
            where = ".".join(names[:depth])
            raise ConfigError(f"{dotted}: {where} is {section!r}, not a section; set {where} itself.")
        if name not in section:
            known = ", ".join(map(str, section))
            raise ConfigError(f"{dotted}: unknown key {name}{suggest(name, list(section))} (known here: {known}).")
        section = section[name]
        if name == "params" or section is None or section == {}:
            return
