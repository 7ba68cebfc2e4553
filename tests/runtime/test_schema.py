from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from rigpose.errors import ConfigError
from rigpose.schema import parse, to_mapping


@dataclass(frozen=True)
class Inner:
    margin_px: float
    mode: Literal["fast", "exact"] = "exact"


@dataclass(frozen=True)
class Outer:
    names: tuple[str, ...]
    crop: Inner
    size: tuple[int, int] = (4, 5)
    extra: Inner | None = None
    table: dict[str, int] = field(default_factory=dict)


def test_a_mapping_becomes_nested_dataclasses_and_back() -> None:
    mapping = {"names": ["a"], "crop": {"margin_px": 2}, "size": [1, 2], "table": {"k": 3}}
    outer = parse(Outer, mapping, where="file")
    assert outer == Outer(("a",), Inner(2.0), (1, 2), None, {"k": 3})
    assert parse(Outer, to_mapping(outer), where="file") == outer


def test_numbers_that_yaml_reads_as_text_are_numbers() -> None:
    assert parse(Inner, {"margin_px": "1e-05"}, where="file").margin_px == 1e-5


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"names": [], "crop": {"margn_px": 1}}, ["file.crop.margn_px", "did you mean margin_px"]),
        ({"names": []}, ["file.crop", "missing"]),
        ({"names": [], "crop": {"margin_px": "wide"}}, ["file.crop.margin_px", "float", "'wide'"]),
        ({"names": [], "crop": {"margin_px": 1, "mode": "exct"}}, ["file.crop.mode", "did you mean exact"]),
        ({"names": "abc", "crop": {"margin_px": 1}}, ["file.names", "expected a list"]),
        ({"names": [], "crop": {"margin_px": 1}, "size": [1]}, ["file.size", "2 values"]),
        ({"names": [], "crop": {"margin_px": True}}, ["file.crop.margin_px", "float"]),
        ([], ["file", "expected a mapping"]),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(mapping: object, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(Outer, mapping, where="file")
    for word in words:
        assert word in str(caught.value)
