"""A snapshot that DeepLabCut trained, exported and run on a video, against the files that DeepLabCut wrote."""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest
from exported_recording import recorded_bundle, recording

from rigpose.commands import analyze
from rigpose.commands.main import run
from rigpose.videos.metadata import read_meta

FRAMES = 41  # of the recorded clip's 120, as many as need none behind them to be decoded


@pytest.mark.slow
def test_rigpose_analyze_writes_the_files_that_deeplabcut_writes(golden: Path, shared: Path, tmp_path: Path) -> None:
    recorded, bundle = recording(golden), recorded_bundle(shared, golden)
    clip = tmp_path / "clip120.mp4"
    _copy_beginning(recorded / "clip120.mp4", clip)
    parser = argparse.ArgumentParser()
    analyze.COMMAND.configure(parser)
    arguments = [str(bundle.path), str(clip), "--device", "cpu", "--threads", "2", "--batch", "4"]
    assert run(analyze.COMMAND, parser.parse_args(arguments)) == 0

    theirs_h5 = next((recorded / "deeplabcut_output").glob("*.h5"))
    ours_h5 = next(tmp_path.glob("*.h5"))
    expected, ours = (pd.DataFrame(pd.read_hdf(path, "df_with_missing")) for path in (theirs_h5, ours_h5))
    expected = expected.iloc[:FRAMES]
    assert ours_h5.name == theirs_h5.name
    pd.testing.assert_index_equal(ours.index, expected.index, exact=True)
    pd.testing.assert_index_equal(ours.columns, expected.columns, exact=True)
    pd.testing.assert_series_equal(ours.dtypes, expected.dtypes)

    error = np.abs(ours.to_numpy() - expected.to_numpy()).reshape(FRAMES, -1, 3)
    print(f"worst difference {error[..., :2].max():.2g} px, score {error[..., 2].max():.2g}")
    # Two libraries sum float32 in another order; a wrong convention would be half a pixel and more.
    assert error[..., :2].max() < 1e-3
    assert error[..., 2].max() < 1e-4

    _same_fields(next(tmp_path.glob("*_meta.pickle")), next((recorded / "deeplabcut_output").glob("*_meta.pickle")))
    ours_csv, theirs_csv = (path.with_suffix(".csv").read_text().splitlines() for path in (ours_h5, theirs_h5))
    assert len(ours_csv) - len(theirs_csv) == FRAMES - 120
    assert ours_csv[:3] == theirs_csv[:3]


def _same_fields(ours: Path, theirs: Path) -> None:
    mine, recorded = read_meta(ours), read_meta(theirs)
    assert mine is not None and recorded is not None
    assert set(recorded) <= set(mine)
    for field in ("fps", "frame_dimensions", "cropping", "cropping_parameters", "bodyparts", "individuals"):
        assert mine[field] == recorded[field], field
    assert (mine["nframes"], recorded["nframes"]) == (FRAMES, 120)


def _copy_beginning(video: Path, clip: Path) -> None:
    """Its first frames as they are encoded, so that they decode to the same pixels."""
    with av.open(str(video)) as source, av.open(str(clip), "w") as shorter:
        stream = source.streams.video[0]
        copy = shorter.add_stream_from_template(stream)
        for packet in islice(source.demux(stream), FRAMES):
            packet.stream = copy
            shorter.mux(packet)
