"""Segments cover a video once, begin where batches do, and are found again in files of every kind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from colourful_video import KINDS, write_kind
from hypothesis import given
from hypothesis import strategies as st

from rigpose.cluster.segments import SEGMENT_FRAMES, FrameMark, planned
from rigpose.videos.video import Video

pytest.importorskip("av")
FRAMES, KEY_FRAMES = 60, 25
BEGINS = (1, 16, 24, 25, 26, 49, 59)
"""Around key frames, one before its first B-frames, and the last of all."""


@given(
    batches=st.integers(0, 500),
    batch=st.integers(1, 64),
    frames=st.none() | st.integers(1, 200_000),
)
def test_segments_cover_the_video_once_and_begin_with_whole_batches(
    batches: int, batch: int, frames: int | None
) -> None:
    begin = batches * batch
    segments = planned(begin, frames, batch)
    assert segments[0].start == begin and segments[-1].stop is None
    assert [segment.stop for segment in segments[:-1]] == [segment.start for segment in segments[1:]]
    assert [segment.sought for segment in segments] == [False] + [True] * (len(segments) - 1)
    for segment in segments[:-1]:
        assert segment.stop is not None
        assert segment.start % batch == 0 and SEGMENT_FRAMES <= segment.stop - segment.start < SEGMENT_FRAMES + batch
    if frames is not None and len(segments) > 1:
        # The last piece is no crumb.
        assert frames - segments[-1].start >= SEGMENT_FRAMES / 2 - batch


def test_a_video_that_does_not_say_how_long_it_is_stays_whole() -> None:
    assert len(planned(0, None, 8)) == 1


@pytest.mark.parametrize("decoder", ["opencv", "pyav"])
@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if not kind.times])
def test_frames_that_are_sought_are_those_of_the_video(kind: str, decoder: str, tmp_path: Path) -> None:
    chosen = KINDS[kind]
    often = {"g": str(KEY_FRAMES)} if "x26" in chosen.codec else {}
    path = write_kind(tmp_path, dataclasses.replace(chosen, options={**chosen.options, **often}), FRAMES)
    with Video(path, decoder=decoder) as video:
        expected = [FrameMark.of(frame) for frame in video.frames()]
    assert len(expected) == len(set(expected)) == FRAMES
    for begin in BEGINS:
        with Video(path, decoder=decoder) as video:
            found = [(frame.index, FrameMark.of(frame)) for frame in video.frames(start=begin, stop=55, sought=True)]
        assert found == [(i, expected[i]) for i in range(begin, 55)]


@pytest.mark.parametrize("decoder", ["opencv", "pyav"])
def test_beyond_the_end_nothing_is_found(decoder: str, tmp_path: Path) -> None:
    path = write_kind(tmp_path, KINDS["h264"], FRAMES)
    with Video(path, decoder=decoder) as video:
        beyond = [frame.index for frame in video.frames(start=FRAMES + 40, sought=True)]
    # A decoder may go back to the last frame; its mark is then not the expected one.
    assert len(beyond) <= 1
