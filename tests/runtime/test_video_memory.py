"""Memory over a long video."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from drawn_video import analyzer, write_video

from rigpose.progress import Advance
from rigpose.videos.analysis import AnalysisOptions, ResultIdentity, analyze_video

FRAMES = 5000
STATM = Path("/proc/self/statm")


def _resident_pages() -> int:
    return int(STATM.read_text().split()[1])


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="/proc/self/statm says how much memory is in use")
@pytest.mark.parametrize("decoder", ["opencv", "pyav"])
def test_memory_stays_flat_over_a_long_video(decoder: str, tmp_path: Path) -> None:
    if decoder == "pyav":
        pytest.importorskip("av")
    video = write_video(tmp_path / "a.mp4", [number % 240 for number in range(FRAMES)])
    pages: dict[int, int] = {}
    done = 0

    @contextmanager
    def watch(_description: str, _total: int | None, _unit: str) -> Iterator[Advance]:
        def advance(count: int, note: str = "") -> None:
            nonlocal done
            del note
            done += count
            pages[done] = _resident_pages()

        yield advance

    options = AnalysisOptions(decoder=decoder)
    result = analyze_video(analyzer(), video, identity=ResultIdentity("D", "0"), options=options, show=watch)
    assert result.frames == FRAMES
    # Frames that were kept would be 200 MB; 5 % is what the allocator may hold back.
    assert pages[FRAMES] < 1.05 * pages[FRAMES // 10 // 8 * 8]
