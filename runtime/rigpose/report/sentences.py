"""What numbers mean, in sentences, each with its weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from rigpose.report.markup import Html, tag


class Weight(Enum):
    """How a sentence is meant."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True)
class Sentence:
    """One finding."""

    weight: Weight
    text: str


def verdict_list(sentences: Sequence[Sentence]) -> Html:
    """The findings below each other."""
    return tag(
        "ul", *(tag("li", tag("span", one.text), class_=one.weight.value) for one in sentences), class_="verdict"
    )
