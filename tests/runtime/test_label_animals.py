"""Labelled videos of several animals, and tracking again: from the files of an analysis."""

from __future__ import annotations

import argparse
import os
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from animal_scenes import INDIVIDUALS, KEYPOINTS, SCORER, UNIQUE, scene
from drawn_video import HEIGHT, WIDTH, write_video

from rigpose.commands import label, track
from rigpose.errors import ConfigError, ResultError
from rigpose.files.animal_files import write_detections, write_tracks
from rigpose.files.results import ResultFiles, read_results
from rigpose.models.model_spec import DekrGrouping, ModelSpec
from rigpose.poses import Poses
from rigpose.tracking import TrackingSettings, Tracks
from rigpose.videos.drawing import keypoint_colours
from rigpose.videos.labelled_video import find_results, label_video, labelled_path
from rigpose.videos.metadata import write_meta
from rigpose.videos.retracking import read_assemblies, track_again
from rigpose.videos.video import Video

SPEC = ModelSpec("dekr", "dekr_w18", KEYPOINTS, INDIVIDUALS, UNIQUE, grouping=DekrGrouping(max_animals=3))
SETTINGS = TrackingSettings()


def _animals(*, identity: bool = False) -> list[Poses | None]:
    """The drawn scene, shrunk into the picture, with its animals in another order in every frame; one frame is lost."""
    rng = np.random.default_rng(1)
    frames: list[Poses | None] = []
    for frame in scene(unique=True, identity=identity):
        joints = frame["bodyparts"]
        found = Poses.from_array(np.where(np.isnan(joints[..., :1]), np.nan, joints))
        unique = frame["unique"] * np.array([0.4, 0.4, 1], np.float32)
        found = replace(found, xy=found.xy * 0.3, unique=unique, identity_scores=frame.get("identity_scores"))
        frames.append(found.take(rng.permutation(len(found))))
    frames[5] = None
    return frames


def _analysed(folder: Path, frames: list[Poses | None] | None = None, **meta: Any) -> ResultFiles:
    """A video with the files of its analysis, the tracks empty."""
    video = write_video(folder / "cage.mp4", [0] * 11)
    frames = _animals() if frames is None else frames
    files = ResultFiles.of(video, SCORER)
    write_detections(files, frames, SPEC)
    nobody = Tracks(np.full((len(frames), 3), -1), ())
    write_tracks(files, frames, nobody, spec=SPEC, scorer=SCORER, suffix="_el", save_csv=True)
    facts = {"Scorer": SCORER, "nframes": len(frames), "individuals": list(INDIVIDUALS), "bodyparts": list(KEYPOINTS)}
    display = {"pcutoff": 0.4, "dot_size": 4}
    ours = {"missing_frames": [5], "skeleton": [["nose", "tail"]], "display": display}
    write_meta(files.meta, facts | {"unique_bodyparts": list(UNIQUE), "cropping": False, "rigpose": ours} | meta)
    return files


def _run(module: Any, *arguments: str) -> int:
    parser = argparse.ArgumentParser()
    module.COMMAND.configure(parser)
    return module.COMMAND.run(parser.parse_args(arguments))


def test_animals_come_back_from_their_pickle_as_they_were_found(tmp_path: Path) -> None:
    frames = _animals()
    found = read_assemblies(_analysed(tmp_path, frames))
    assert (found.scorer, found.keypoints, found.individuals, found.unique_keypoints) == (
        SCORER, KEYPOINTS, INDIVIDUALS, UNIQUE
    )  # fmt: skip
    for before, after in zip(frames, found.frames, strict=True):
        if before is None or after is None:
            assert before is after
            continue
        np.testing.assert_array_equal(after.xy, before.xy)
        np.testing.assert_array_equal(after.score, before.score)
        np.testing.assert_array_equal(after.unique, before.unique)
        assert after.identity is None


def test_keypoints_tell_again_which_individual_an_animal_is(tmp_path: Path) -> None:
    found = read_assemblies(_analysed(tmp_path, _animals(identity=True)))
    # The individuals are apart from top to bottom: red, green, blue.
    for frame, identity in ((0, [0, 1, 2]), (8, [0, 2])):
        poses = found.frames[frame]
        assert poses is not None and poses.identity is not None
        assert poses.identity.tolist() == identity
        assert np.all(np.diff(poses.xy[:, 0, 1]) > 0)


def test_tracking_again_writes_the_tracks_of_the_shuffled_animals(tmp_path: Path) -> None:
    files = _analysed(tmp_path)
    done = track_again(tmp_path / "cage.mp4", settings=SETTINGS)
    assert done.h5 == files.tracks("_el") and (done.frames, done.tracks) == (12, 3)
    for path in (done.h5, files.h5, files.csv):
        table = read_results(path)
        assert table.individuals == INDIVIDUALS and table.unique_keypoints == UNIQUE
        # Each track keeps its height; animals are 27 px apart and wander by less than 1.
        height = table.xy[:, :, 0, 1]
        assert np.nanmax(np.nanmax(height, axis=0) - np.nanmin(height, axis=0)) < 1
        assert np.isfinite(height).sum(axis=0).tolist() == [10, 6, 10]
        assert table.unique is not None and np.isnan(table.unique[5]).all()
    assert not files.lock.exists()


def test_another_tracker_and_number_of_animals_have_their_own_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = _analysed(tmp_path)
    video = str(tmp_path / "cage.mp4")
    assert _run(track, video, "--tracker", "box", "--animals", "1", "--no-csv") == 0
    assert capsys.readouterr().out.startswith(f"{files.tracks('_bx')}: 1 tracks of ")
    for path in (files.tracks("_bx"), files.h5):
        found = read_results(path)
        assert (
            found.individuals == INDIVIDUALS and np.isfinite(found.xy[:, 0]).any() and np.isnan(found.xy[:, 1:]).all()
        )
    assert not files.csv.exists()
    assert _run(track, video, "--animals", "4", "--results", str(files.assemblies)) == 0
    assert read_results(files.tracks("_el")).individuals == ("ind1", "ind2", "ind3", "ind4")


def test_what_tracking_again_lacks_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = tmp_path / "cage.mp4"
    with pytest.raises(ResultError, match="has no analysis of several animals"):
        track_again(video, settings=SETTINGS)
    files = _analysed(tmp_path)
    assert _run(track, str(tmp_path / "other.mp4"), str(video)) == 1
    assert "other.mp4: has no analysis" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="--results names the file of one video"):
        _run(track, str(video), "b.mp4", "--results", str(files.assemblies))
    with pytest.raises(SystemExit):
        _run(track, str(video), "--animals", "0")
    assert "argument --animals: '0' is no whole number of 1 or more" in capsys.readouterr().err
    with pytest.raises(ResultError, match=r"is not of other\.mp4, whose results begin with its name"):
        track_again(tmp_path / "other.mp4", results=files.assemblies, settings=SETTINGS)
    with pytest.raises(ResultError, match=r"cage_no\.pickle: there is no such file"):
        track_again(video, results=tmp_path / "cage_no.pickle", settings=SETTINGS)
    (tmp_path / "cageDLC_other_assemblies.pickle").touch()
    with pytest.raises(ResultError, match="several analyses"):
        track_again(video, settings=SETTINGS)
    files.assemblies.write_bytes(pickle.dumps({"single": {}, 0: np.zeros((1, 3, 4))}))
    with pytest.raises(ResultError, match="damaged or not of the analysis"):
        track_again(video, results=files.assemblies, settings=SETTINGS)
    meta = files.meta.read_bytes()
    files.meta.unlink()
    with pytest.raises(ResultError, match="is missing, and with it the names"):
        track_again(video, results=files.assemblies, settings=SETTINGS)
    files.meta.write_bytes(meta)
    files.assemblies.unlink()
    with pytest.raises(ResultError, match=r"_assemblies\.pickle: there is no such file"):
        track_again(video, results=files.meta, settings=SETTINGS)


def test_the_tracks_are_drawn_in_the_colours_of_the_animals(tmp_path: Path) -> None:
    files, video = _analysed(tmp_path), tmp_path / "cage.mp4"
    track_again(video, settings=SETTINGS)
    assert find_results(video) == files.tracks("_el")
    assert labelled_path(video).name == f"cage{SCORER}_el_id_p40_labeled.mp4"
    assert labelled_path(video, color_by="bodypart").name == f"cage{SCORER}_el_bp_p40_labeled.mp4"
    output = label_video(video, trail=4, skeleton=True, boxes=True)
    table = read_results(files.h5)
    with Video(output) as drawn:
        assert (drawn.width, drawn.height) == (WIDTH, HEIGHT)
        pictures = [frame.image for frame in drawn.frames()]
    assert len(pictures) == 11  # one frame of the twelve was lost
    for track_number, colour in enumerate(keypoint_colours(3, "rainbow")):
        x, y = np.rint(table.xy[2, track_number, 0]).astype(int)
        near = pictures[2][y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(axis=0)
        # The codec halves the colour's resolution, so only the strongest channel is certain.
        assert near.argmax() == np.argmax(colour), (near, colour)


def test_the_table_beside_the_tracks_and_others_than_the_only_one_are_told_apart(tmp_path: Path) -> None:
    files, video = _analysed(tmp_path), tmp_path / "cage.mp4"
    assert label_video(video, results=files.csv).name == f"cage{SCORER}_id_p40_labeled.mp4"
    track_again(video, settings=TrackingSettings(method="box"))
    os.utime(files.tracks("_el"), ns=(1, 1))
    assert find_results(video) == files.tracks("_bx")
    track_again(video, settings=SETTINGS)
    assert find_results(video) == files.tracks("_el")
    (tmp_path / "cageDLC_other.h5").touch()
    with pytest.raises(ResultError, match=r"several results.*_bx\.h5, .*_el\.h5, .*other\.h5\.$"):
        label_video(video)


def test_the_label_command_takes_the_new_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _analysed(tmp_path)
    assert _run(label, str(tmp_path / "cage.mp4"), "--color-by", "bodypart", "--boxes", "--trail", "2") == 0
    assert capsys.readouterr().out.endswith("_el_bp_p40_labeled.mp4\n")
    assert _run(label, str(tmp_path / "cage.mp4"), "--color-by", "bodypart") == 0
    assert "there already" in capsys.readouterr().out
