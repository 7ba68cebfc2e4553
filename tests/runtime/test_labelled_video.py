"""Videos with the poses drawn in."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path

import pytest
from drawn_video import CELL, FRAMES_PER_SECOND, HEIGHT, WIDTH, analyzer, damage_avi_frame, draw_frame, write_video

from rigpose.analyzers.analyzer import Analyzer
from rigpose.bundles.bundle import Display
from rigpose.commands import label
from rigpose.errors import ConfigError, MediaError, ResultError
from rigpose.files.results import Results, read_results
from rigpose.models.model_spec import ModelSpec
from rigpose.videos.analysis import AnalysisOptions, analyze_video
from rigpose.videos.drawing import DrawStyle, keypoint_colours
from rigpose.videos.labelled_video import Footage, label_video, labelled_path, write_labelled_video
from rigpose.videos.metadata import ResultIdentity, read_meta
from rigpose.videos.video import Crop, Video

IDENTITY = ResultIdentity("DLC_x", "0123abcd", display=Display(pcutoff=0.3, dot_size=6))


def _analyzed(video: Path) -> tuple[Results, tuple[int, ...]]:
    result = analyze_video(analyzer(), video, identity=ResultIdentity("DLC_x", "a"))
    meta = read_meta(result.h5.with_name(f"{result.h5.stem}_meta.pickle"))
    assert meta is not None
    return read_results(result.h5), tuple(meta["rigpose"]["missing_frames"])


def test_every_frame_is_drawn_with_its_own_pose(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", range(40), codec="MJPG")
    damage_avi_frame(video, 9)
    results, lost = _analyzed(video)
    output = tmp_path / "out_labeled.mp4"
    style = DrawStyle(radius=2)
    count = write_labelled_video(Footage(video, results, lost), output, style=style)
    assert count == 39
    shown = [number for number in range(40) if number != 9]
    assert keypoint_colours(2, style.colormap)[0][1] == 0
    with Video(output) as drawn:
        assert (drawn.height, drawn.width) == (HEIGHT, WIDTH)
        assert drawn.frames_per_second == pytest.approx(FRAMES_PER_SECOND)
        for number, frame in zip(shown, drawn.frames(), strict=True):
            row, column = divmod(number, WIDTH // CELL)
            centre = frame.image[row * CELL + CELL // 2, column * CELL + CELL // 2].astype(int)
            # The bright cell is grey (230); the dot in it has no green, but the codec blurs it.
            assert centre[1] < 120, (number, centre)
    assert sorted(path.name for path in tmp_path.glob("*.mp4")) == ["out_labeled.mp4"]


def test_results_of_another_video_are_refused(tmp_path: Path) -> None:
    results, _ = _analyzed(write_video(tmp_path / "short.mp4", range(10)))
    video = write_video(tmp_path / "long.mp4", range(12))
    with pytest.raises(MediaError, match="more frames than its results"):
        write_labelled_video(Footage(video, results), tmp_path / "out.mp4", style=DrawStyle())
    assert not (tmp_path / "out.mp4").exists()
    assert list(tmp_path.glob("*writing*")) == []


def test_a_video_is_drawn_as_its_project_says(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(12))
    analyze_video(analyzer(), video, identity=IDENTITY)
    assert labelled_path(video) == tmp_path / "aDLC_x_p30_labeled.mp4"
    assert label_video(video) == tmp_path / "aDLC_x_p30_labeled.mp4"
    assert label_video(video, pcutoff=0.75) == tmp_path / "aDLC_x_p75_labeled.mp4"
    with Video(labelled_path(video)) as drawn:
        assert drawn.frames_reported == 12


def test_a_drawn_video_is_left_alone_unless_overwriting(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(12))
    analyze_video(analyzer(), video, identity=IDENTITY)
    output = label_video(video)
    stamp = output.stat().st_mtime_ns
    assert label_video(video) == output and output.stat().st_mtime_ns == stamp
    assert label_video(video, overwrite=True) == output and output.stat().st_mtime_ns > stamp


def test_a_copy_that_is_older_than_its_results_is_drawn_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = write_video(tmp_path / "a.mp4", range(12))
    analyze_video(analyzer(), video, identity=IDENTITY)
    output = label_video(video)
    os.utime(output, ns=(1, 1))
    parser = argparse.ArgumentParser()
    label.COMMAND.configure(parser)
    for said in (f"{output}\n", "there already"):
        assert label.COMMAND.run(parser.parse_args([str(video)])) == 0
        assert said in capsys.readouterr().out
        assert output.stat().st_mtime_ns > 1


def test_damaged_frames_are_left_out_and_the_others_keep_their_poses(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.avi", range(30), codec="MJPG")
    damage_avi_frame(video, 9)
    analyze_video(analyzer(), video, identity=IDENTITY)
    with Video(label_video(video)) as drawn:
        assert drawn.frames_reported == 29


def test_a_cropped_analysis_is_drawn_on_the_crop_whoever_made_it(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(12))
    analyze_video(analyzer(), video, identity=IDENTITY, options=AnalysisOptions(cropping=Crop(16, 160, 0, 64)))
    with Video(label_video(video)) as drawn:
        assert (drawn.width, drawn.height) == (144, 64)
    path = tmp_path / "aDLC_x_meta.pickle"
    meta = read_meta(path)
    assert meta is not None
    del meta["rigpose"]
    # DeepLabCut keeps a path of the project in its metadata.
    meta["pytorch-config"] = {"metadata": {"project_path": Path("/project")}}
    path.write_bytes(pickle.dumps({"data": meta}))
    with Video(label_video(video, pcutoff=0.1)) as drawn:
        assert (drawn.width, drawn.height) == (144, 64)


def test_the_skeleton_of_the_project_is_drawn_on_demand(tmp_path: Path) -> None:
    spec = ModelSpec("single_animal", "resnet_50", ("number", "place"), skeleton=(("number", "place"),))
    video = write_video(tmp_path / "a.mp4", [70] * 4)
    white = Display(pcutoff=0.3, dot_size=2, skeleton_color="white")
    analyze_video(Analyzer(spec, analyzer().session), video, identity=ResultIdentity("DLC_x", "a", display=white))
    # From the cell of number 70, whose centre is (84, 28), to (0..3, 8): half way is (43, 18), in the dark.
    pictures = [label_video(video), label_video(video, skeleton=True, pcutoff=0.31)]
    brightness = []
    for path in pictures:
        with Video(path) as drawn:
            brightness.append(int(next(drawn.frames()).image[15:21, 40:46].max()))
    assert draw_frame(70)[15:21, 40:46].max() == 20
    assert brightness[0] < 60 and brightness[1] > 150


def test_what_labelling_lacks_is_one_sentence(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(12))
    with pytest.raises(ResultError, match="has no results beside it"):
        label_video(video)
    result = analyze_video(analyzer(), video, identity=IDENTITY)
    with pytest.raises(ConfigError, match="has no skeleton"):
        label_video(video, skeleton=True)
    (tmp_path / "aDLC_y.h5").write_bytes(result.h5.read_bytes())
    with pytest.raises(ResultError, match="several results"):
        label_video(video)
    assert result.csv is not None
    assert label_video(video, results=result.csv).is_file()
    (tmp_path / "aDLC_x_meta.pickle").write_bytes(b"damaged")
    with pytest.raises(ResultError, match=r"aDLC_x_meta\.pickle is damaged"):
        label_video(video, results=result.h5)


def test_results_without_metadata_are_drawn_with_defaults(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mp4", range(12))
    analyze_video(analyzer(), video, identity=IDENTITY)
    (tmp_path / "aDLC_x_meta.pickle").unlink()
    assert label_video(video) == tmp_path / "aDLC_x_p60_labeled.mp4"


def test_results_that_deeplabcut_wrote_are_drawn(golden: Path, tmp_path: Path) -> None:
    snapshot = golden / "snapshots" / "openfield_resnet_50"
    for path in [snapshot / "clip120.mp4", *(snapshot / "deeplabcut_output").iterdir()]:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    output = label_video(tmp_path / "clip120.mp4", trail=5)
    with Video(output) as drawn:
        assert drawn.frames_reported == 120 and (drawn.width, drawn.height) == (640, 480)
