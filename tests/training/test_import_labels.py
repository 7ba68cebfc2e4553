"""Labels of other tools in a DeepLabCut project: the same names, places and pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.lib import recfunctions
from projects_on_disk import label_table, write_project

from rigpose.commands.main import run
from rigpose_training.import_command import COMMAND
from rigpose_training.imported.labels import ImportedLabels
from rigpose_training.imported.new_project import new_config
from rigpose_training.project.config import read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.labels import merge_labels

PYTHON = os.environ.get("RIGPOSE_DEEPLABCUT_PYTHON", "")
OPENS = Path(__file__).parents[1] / "deeplabcut" / "check_shuffle_opens.py"
NODES = ("nose", "neck", "tail")
EDGES = (("nose", "neck"), ("neck", "tail"))
HEIGHT, WIDTH, FRAMES = 48, 64, 24
LABELLED = (0, 7, 23)


def _import(*words: str | Path) -> int:
    parser = ArgumentParser()
    COMMAND.configure(parser)
    return run(COMMAND, parser.parse_args([*map(str, words)]))


def _refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The sentence with which an import is refused."""
    capsys.readouterr()
    assert _import(*words) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def _everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _grey(frame: int) -> np.ndarray:
    """A picture that tells its number, whatever a codec does to it."""
    return np.full((HEIGHT, WIDTH, 3), 10 * frame, np.uint8)


def _video(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (WIDTH, HEIGHT))
    assert writer.isOpened()
    for frame in range(FRAMES):
        writer.write(_grey(frame))
    writer.release()
    return path


def _places(frame: int, animal: int) -> np.ndarray:
    """(K, 2) of which the neck is missing from every other animal."""
    xy = np.array([[1.25, 2.5], [11.5, 12], [21, 22.75]]) + frame + 10 * animal
    xy[1] = xy[1] if (frame + animal) % 2 else np.nan
    return xy


def _sleap(
    path: Path, videos: list[Path], *, animals: int = 2, tracked: bool = True, embed: bool = False, extra: bool = False
) -> Path:
    """A file of people's labels by sleap-io itself; each picture has a prediction besides."""
    sio = pytest.importorskip("sleap_io")
    skeleton = sio.Skeleton(nodes=list(NODES), edges=list(EDGES))
    tracks = [sio.Track(f"mouse {letter}") for letter in "AB"[:animals]]
    frames, instances = [], []
    for file in videos:
        video = sio.Video.from_filename(str(file))
        for frame in LABELLED:
            # The animals are in another order in every other frame.
            order = list(range(animals))[:: 1 if frame % 2 else -1]
            instances = [
                sio.Instance.from_numpy(_places(frame, i), skeleton, track=tracks[i] if tracked else None)
                for i in order
            ]
            instances.append(sio.PredictedInstance.from_numpy(_places(frame, 5), skeleton, score=0.5))
            frames.append(sio.LabeledFrame(video=video, frame_idx=frame, instances=instances))
        frames.append(sio.LabeledFrame(video=video, frame_idx=3, instances=[instances[-1]] if extra else []))
    labels = sio.Labels(labeled_frames=frames, tracks=tracks if tracked else [])
    path.parent.mkdir(parents=True, exist_ok=True)
    sio.save_slp(labels, str(path), embed="user" if embed else False, verbose=False)
    return path


@pytest.fixture
def sio() -> Any:
    """SLEAP's own reader and writer."""
    return pytest.importorskip("sleap_io")


@pytest.mark.parametrize("embed", [False, True], ids=["video", "package"])
def test_what_was_labelled_in_sleap_becomes_a_project(
    tmp_path: Path, *, embed: bool, sio: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    video = _video(tmp_path / "recordings" / "pen.avi")
    file = _sleap(tmp_path / ("a.pkg.slp" if embed else "a.slp"), [video], embed=embed, extra=True)
    if embed:
        # A package needs no video.
        video.unlink()
    project = tmp_path / "mice-Ada-2026-11-20"
    assert _import(file, "--from", "slp", "-o", project) == 0
    assert "predicted instances are left behind" in capsys.readouterr().out
    config = read_project_config(project)
    assert (config.task, config.scorer, config.date) == ("mice", "Ada", "Nov20")
    assert config.multi_animal and config.individuals == ("mouse A", "mouse B") and config.bodyparts == NODES
    assert config.skeleton == EDGES and config.videos == ("pen",) and not config.unique_bodyparts
    labels = merge_labels(config)
    assert labels.images == tuple(f"labeled-data/pen/img{frame:02}.png" for frame in LABELLED)
    expected = np.array([[_places(frame, animal) for animal in (0, 1)] for frame in LABELLED])
    # To the last bit: SLEAP and DeepLabCut both put (0, 0) into the middle of the first pixel.
    np.testing.assert_array_equal(labels.xy, expected.astype(np.float32))
    for image, frame in zip(labels.images, LABELLED, strict=True):
        picture = cv2.imread(str(project / image))
        assert picture is not None and picture.shape == (HEIGHT, WIDTH, 3)
        assert abs(float(picture.mean()) - 10 * frame) < 3  # MJPG rounds by less; frames are 10 apart
    listed = yaml.safe_load((project / "config.yaml").read_text())
    (name,) = listed["video_sets"]
    assert name == str(project / "videos" / "pen.mp4" if embed else video)
    assert listed["video_sets"][name] == {"crop": f"0, {WIDTH}, 0, {HEIGHT}"}
    assert [path.name for path in tmp_path.glob(".*")] == []
    assert create_training_dataset(project, net_type="resnet_50") == [1]


def test_sleap_labels_of_before_format_1_1_are_moved_by_half_a_pixel(tmp_path: Path, sio: Any) -> None:
    h5py = pytest.importorskip("h5py")
    file = _sleap(tmp_path / "a.slp", [_video(tmp_path / "pen.avi")])
    with h5py.File(file, "r+") as content:
        content["metadata"].attrs["format_id"] = 1.0
        # Those files knew no score of tracking.
        instances = content["instances"][()]
        kept = [name for name in instances.dtype.names if name != "tracking_score"]
        del content["instances"]
        content["instances"] = recfunctions.repack_fields(instances[kept])
    assert _import(file, "--from", "slp", "-o", tmp_path / "p") == 0
    labels = merge_labels(read_project_config(tmp_path / "p"))
    expected = np.array([[_places(frame, animal) for animal in (0, 1)] for frame in LABELLED]) - 0.5
    np.testing.assert_array_equal(labels.xy, expected.astype(np.float32))


def test_instances_without_tracks_are_numbered_and_one_animal_is_a_project_of_one(tmp_path: Path, sio: Any) -> None:
    video = _video(tmp_path / "pen.avi")
    numbered = _sleap(tmp_path / "two.slp", [video], tracked=False)
    assert _import(numbered, "--from", "slp", "-o", tmp_path / "two") == 0
    assert read_project_config(tmp_path / "two").individuals == ("individual1", "individual2")
    tracked = _sleap(tmp_path / "tracked.slp", [video])
    assert _import(tracked, "--from", "slp", "-o", tmp_path / "three", "--no-tracks") == 0
    assert read_project_config(tmp_path / "three").individuals == ("individual1", "individual2")
    one = _sleap(tmp_path / "one.slp", [video], animals=1)
    assert _import(one, "--from", "slp", "-o", tmp_path / "one", "--scorer", "Eve") == 0
    config = read_project_config(tmp_path / "one")
    assert not config.multi_animal and (config.task, config.scorer) == ("one", "Eve")
    np.testing.assert_array_equal(merge_labels(config).xy[1, 0], _places(LABELLED[1], 0).astype(np.float32))


def test_videos_of_one_name_are_told_apart_and_found_in_another_folder(
    tmp_path: Path, sio: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    videos = [_video(tmp_path / "then" / day / "pen.avi") for day in ("monday", "tuesday")]
    file = _sleap(tmp_path / "a.slp", videos)
    (tmp_path / "then").rename(tmp_path / "now")
    words = (file, "--from", "slp", "-o", tmp_path / "p")
    assert "name the folder that has them with --images" in _refused(capsys, *words)
    assert not (tmp_path / "p").exists()
    assert _import(*words, "--images", tmp_path / "now") == 0
    config = read_project_config(tmp_path / "p")
    assert config.videos == ("monday_pen", "tuesday_pen") and len(merge_labels(config)) == 6


def test_our_own_slp_brings_back_the_unique_bodyparts(tmp_path: Path, sio: Any) -> None:
    video = _video(tmp_path / "pen.avi")
    skeleton = sio.Skeleton(nodes=["nose", "tail", "corner"])
    tracks = [sio.Track(name) for name in ("a", "b", "single")]
    places = np.full((3, 3, 2), np.nan)
    places[0, :2], places[1, :2], places[2, 2] = [[1, 2], [3, 4]], [[5, 6], [7, 8]], [9, 10]
    instances = [sio.Instance.from_numpy(xy, skeleton, track=track) for xy, track in zip(places, tracks, strict=True)]
    frame = sio.LabeledFrame(video=sio.Video.from_filename(str(video)), frame_idx=2, instances=instances)
    sio.save_slp(sio.Labels([frame]), str(tmp_path / "a.slp"), embed=False, verbose=False)
    assert _import(tmp_path / "a.slp", "--from", "slp", "-o", tmp_path / "p") == 0
    config = read_project_config(tmp_path / "p")
    assert (config.individuals, config.bodyparts) == (("a", "b"), ("nose", "tail"))
    assert config.unique_bodyparts == ("corner",)
    labels = merge_labels(config)
    np.testing.assert_array_equal(labels.xy[0], [[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    np.testing.assert_array_equal(labels.unique_xy[0], [[9, 10]])


def _flies_in_sleap(flies: Path, file: Path, sio: Any) -> Path:
    """The labels of real flies as SLEAP has them: a video of images, a track per fly."""
    config = read_project_config(flies)
    labels = merge_labels(config)
    skeleton = sio.Skeleton(nodes=list(config.bodyparts), edges=list(config.skeleton))
    tracks = [sio.Track(name) for name in config.individuals]
    video = sio.Video.from_filename([str(flies / image) for image in labels.images])
    frames = [
        sio.LabeledFrame(
            video=video,
            frame_idx=i,
            instances=[
                sio.Instance.from_numpy(xy.astype(float), skeleton, track=track)
                for xy, track in zip(animals, tracks, strict=True)
                if np.isfinite(xy).any()
            ],
        )
        for i, animals in enumerate(labels.xy)
    ]
    sio.save_slp(sio.Labels(frames), str(file), embed=False, verbose=False)
    return file


def test_labels_of_real_flies_go_to_sleap_and_back(tmp_path: Path, flies: Path, sio: Any) -> None:
    config = read_project_config(flies)
    labels = merge_labels(config)
    assert _import(_flies_in_sleap(flies, tmp_path / "flies.slp", sio), "--from", "slp", "-o", tmp_path / "p") == 0
    back = read_project_config(tmp_path / "p")
    assert (back.individuals, back.bodyparts, back.skeleton) == (config.individuals, config.bodyparts, config.skeleton)
    found = merge_labels(back)
    labelled = np.array([np.isfinite(animals).any() for animals in labels.xy])
    assert labelled.sum() > 20
    names = [Path(image).name for image, there in zip(labels.images, labelled, strict=True) if there]
    assert [Path(image).name for image in found.images] == names
    np.testing.assert_array_equal(found.xy, labels.xy[labelled])
    assert (tmp_path / "p" / found.images[0]).read_bytes() == (flies / labels.images[0]).read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="RIGPOSE_DEEPLABCUT_PYTHON names no Python that has DeepLabCut 3")
def test_deeplabcut_opens_a_project_of_imported_labels(tmp_path: Path, flies: Path, sio: Any) -> None:
    project = tmp_path / "p"
    assert _import(_flies_in_sleap(flies, tmp_path / "flies.slp", sio), "--from", "slp", "-o", project) == 0
    (index,) = create_training_dataset(project, net_type="resnet_50")
    done = subprocess.run(
        [PYTHON, str(OPENS), str(project / "config.yaml"), str(index)], capture_output=True, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert lines, done.stderr[-3000:]
    found = json.loads(lines[0].removeprefix("FOUND "))
    assert found["train"] + found["test"] == len(merge_labels(read_project_config(project)))
    assert found["keypoints_shape"] == [2, 12, 3]


def _coco(folder: Path, source: Path) -> Path:
    """The labels of a drawn project of two animals as a COCO data set, its images in ``images/rig``."""
    labels = merge_labels(read_project_config(source))
    images, annotations = [], []
    (folder / "images" / "rig").mkdir(parents=True)
    (folder / "annotations").mkdir()
    for number, (image, animals) in enumerate(zip(labels.images, labels.xy, strict=True)):
        name = f"rig/{Path(image).name}"
        (folder / "images" / name).write_bytes((source / image).read_bytes())
        images.append({"id": 100 + number, "file_name": name, "width": 40, "height": 30})
        for xy in animals:
            # The tail is hidden: labelled all the same.
            keypoints = [*map(float, xy[0]), 2, *map(float, xy[1]), 1, 0, 0, 0]
            annotations.append(
                {"id": len(annotations), "image_id": 100 + number, "category_id": 1, "keypoints": keypoints}
            )
    images.append({"id": 999, "file_name": "rig/unlabelled.png"})
    category = {"id": 1, "name": "mouse", "keypoints": ["nose", "tail", "ear"], "skeleton": [[1, 2], [3, 1]]}
    path = folder / "annotations" / "train.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [category]}))
    return path


def test_coco_becomes_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_project(tmp_path / "source", images=4, individuals=("a", "b"))
    file = _coco(tmp_path / "data", source)
    assert _import(file, "--from", "coco", "-o", tmp_path / "p") == 0
    told = capsys.readouterr().out
    assert "numbered in each picture" in told and "1 images without labels are left behind" in told
    config = read_project_config(tmp_path / "p")
    assert config.bodyparts == ("nose", "tail", "ear") and config.skeleton == (("nose", "tail"), ("ear", "nose"))
    assert config.individuals == ("individual1", "individual2") and config.videos == ("rig",)
    found, wanted = merge_labels(config), merge_labels(read_project_config(source))
    np.testing.assert_array_equal(found.xy[:, :, :2], wanted.xy)
    assert np.isnan(found.xy[:, :, 2]).all()
    for ours, theirs in zip(found.images, wanted.images, strict=True):
        assert (tmp_path / "p" / ours).read_bytes() == (source / theirs).read_bytes()
    # A tool that counts from the picture's edges has the middle of the first pixel at (0.5, 0.5).
    assert _import(file, "--from", "coco", "-o", tmp_path / "q", "--origin", "corner") == 0
    np.testing.assert_array_equal(merge_labels(read_project_config(tmp_path / "q")).xy[:, :, :2], wanted.xy - 0.5)


def _lightning(folder: Path, source: Path) -> Path:
    """The labels of a drawn project of one animal as Lightning Pose has them: one string names an image."""
    table = pd.DataFrame(pd.read_hdf(source / "labeled-data" / "mouse" / "CollectedData_me.h5"))
    table.iloc[0] = np.nan
    table.index = pd.Index(["/".join(row) for row in table.index])
    folder.mkdir()
    table.to_csv(folder / "CollectedData.csv")
    (folder / "labeled-data").symlink_to(source / "labeled-data")
    return folder / "CollectedData.csv"


def test_lightning_pose_becomes_a_project(tmp_path: Path) -> None:
    source = write_project(tmp_path / "source", images=4)
    file = _lightning(tmp_path / "lp", source)
    assert _import(file, "--from", "lightning-pose", "-o", tmp_path / "p") == 0
    config = read_project_config(tmp_path / "p")
    assert config.scorer == "me" and config.bodyparts == ("nose", "tail") and config.videos == ("mouse",)
    found, wanted = merge_labels(config), merge_labels(read_project_config(source))
    assert found.images == wanted.images
    assert np.isnan(found.xy[0]).all()
    np.testing.assert_array_equal(found.xy[1:], wanted.xy[1:])


def test_labels_of_a_real_mouse_go_to_lightning_pose_and_back(tmp_path: Path, openfield: Path) -> None:
    config = read_project_config(openfield)
    (tmp_path / "lp").mkdir()
    (tmp_path / "lp" / "labeled-data").symlink_to(openfield / "labeled-data")
    wanted = merge_labels(config)
    columns = pd.MultiIndex.from_product(
        [[config.scorer], config.bodyparts, ["x", "y"]], names=["scorer", "bodyparts", "coords"]
    )
    table = pd.DataFrame(wanted.xy.reshape(len(wanted), -1).astype(float), list(wanted.images), columns)
    table.to_csv(tmp_path / "lp" / "CollectedData.csv")
    words = (tmp_path / "lp" / "CollectedData.csv", "--from", "lightning-pose", "-o", tmp_path / "p")
    assert _import(*words) == 0
    back = read_project_config(tmp_path / "p")
    assert (back.scorer, back.bodyparts) == (config.scorer, config.bodyparts)
    found = merge_labels(back)
    assert found.images == wanted.images
    np.testing.assert_array_equal(found.xy, wanted.xy)


def test_an_existing_project_gets_more_and_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_project(tmp_path / "source", images=6)
    file = _lightning(tmp_path / "lp", source)
    project = write_project(tmp_path / "p", images=2, videos=("rat",))
    config = project / "config.yaml"
    config.write_text("# a lab's own words\n" + config.read_text())
    # A bodypart that is labelled, but no longer in the project.
    h5 = project / "labeled-data" / "rat" / "CollectedData_me.h5"
    assert _import(file, "--from", "lightning-pose", "-o", config) == 0
    after = read_project_config(project)
    assert after.videos == ("rat", "mouse") and config.read_text().startswith("# a lab's own words\n")
    assert len(merge_labels(after)) == 8
    # The same again would write over what is there.
    before = _everything(project)
    assert "--overwrite" in _refused(capsys, file, "--from", "lightning-pose", "-o", project)
    assert _everything(project) == before
    assert _import(file, "--from", "lightning-pose", "-o", project, "--overwrite") == 0
    assert len(merge_labels(read_project_config(project))) == 8

    # More pictures of a recording that has some, and a column that the project no longer names.
    table = pd.DataFrame(pd.read_hdf(h5))
    table[("me", "whisker", "x")] = 5.0
    table.to_hdf(h5, key="df_with_missing", mode="w")
    (tmp_path / "more" / "labeled-data" / "rat").mkdir(parents=True)
    more = label_table("rat", 4).iloc[2:]
    for _, _, image in more.index:
        cv2.imwrite(str(tmp_path / "more" / "labeled-data" / "rat" / image), np.zeros((30, 40, 3), np.uint8))
    more.index = pd.Index(["/".join(row) for row in more.index])
    more.to_csv(tmp_path / "more" / "x.csv")
    text = config.read_text()
    assert _import(tmp_path / "more" / "x.csv", "--from", "lightning-pose", "-o", project) == 0
    joined = pd.DataFrame(pd.read_hdf(h5))
    pd.testing.assert_frame_equal(joined[["me"]].iloc[:, :4], label_table("rat", 4), check_names=False)
    assert joined[("me", "whisker", "x")].tolist()[:2] == [5, 5] and config.read_text() == text


def test_labels_that_count_only_by_their_folder_still_count(tmp_path: Path) -> None:
    source = write_project(tmp_path / "source", images=3)
    file = _lightning(tmp_path / "lp", source)
    project = write_project(tmp_path / "p", images=2, videos=("rat",))
    config = project / "config.yaml"
    config.write_text(config.read_text().replace("rat.avi", "somewhere_else.avi"))
    assert len(merge_labels(read_project_config(project))) == 2
    assert _import(file, "--from", "lightning-pose", "-o", project) == 0
    assert len(merge_labels(read_project_config(project))) == 5


def test_individuals_find_their_places_by_name(tmp_path: Path, sio: Any, capsys: pytest.CaptureFixture[str]) -> None:
    project = write_project(tmp_path / "p", images=1, individuals=("mouse B", "rat", "mouse A"))
    config = project / "config.yaml"
    config.write_text(config.read_text().replace("- nose\n- tail", "- tail\n- neck\n- nose"))
    file = _sleap(tmp_path / "a.slp", [_video(tmp_path / "pen.avi")])
    assert _import(file, "--from", "slp", "-o", project) == 0
    labels = merge_labels(read_project_config(project))
    row = labels.images.index(f"labeled-data/pen/img{LABELLED[1]:02}.png")
    np.testing.assert_array_equal(labels.xy[row, 2, ::-1], _places(LABELLED[1], 0))
    np.testing.assert_array_equal(labels.xy[row, 0, ::-1], _places(LABELLED[1], 1))
    assert np.isnan(labels.xy[row, 1]).all()
    stranger = write_project(tmp_path / "q", individuals=("x", "y"))
    assert "the keypoint neck, which multianimalbodyparts" in _refused(capsys, file, "--from", "slp", "-o", stranger)
    text = (stranger / "config.yaml").read_text()
    (stranger / "config.yaml").write_text(text.replace("- nose\n- tail", "- nose\n- neck\n- tail"))
    before = _everything(stranger)
    assert "the individual mouse" in _refused(capsys, file, "--from", "slp", "-o", stranger)
    assert _everything(stranger) == before
    assert _import(file, "--from", "slp", "-o", stranger, "--no-tracks") == 0


def test_bad_input_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, sio: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "p"
    (tmp_path / "x.json").write_text("[]")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n3,4\n5,6\n7,8\n")
    (tmp_path / "x.slp").write_text("no HDF5")
    for source, name, words in (
        ("coco", "absent.json", "does not exist"),
        ("coco", "x.json", "no whole list of images"),
        ("lightning-pose", "absent.csv", "does not exist"),
        ("lightning-pose", "x.csv", "header lines"),
        ("slp", "absent.slp", "does not exist"),
        ("slp", "x.slp", "no SLEAP file"),
    ):
        assert words in _refused(capsys, tmp_path / name, "--from", source, "-o", new)
    file = _lightning(tmp_path / "lp", write_project(tmp_path / "source", images=3))
    category, point = {"keypoints": ["nose"]}, {"image_id": 1, "keypoints": [1, 2, 2]}
    image = {"id": 1, "file_name": "source/labeled-data/mouse/img000.png"}
    content = {"images": [image], "annotations": [point], "categories": [category]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "source" / "labeled-data" / "mouse" / "img001.png").unlink()
    words = (file, "--from", "lightning-pose", "-o")
    assert "img001.png cannot be found" in _refused(capsys, *words, new)
    assert "is no DeepLabCut project" in _refused(capsys, tmp_path / "a.json", "--from", "coco", "-o", tmp_path / "lp")
    assert "--no-tracks" in _refused(capsys, *words, new, "--no-tracks")
    video = _video(tmp_path / "pen.avi")
    slp = _sleap(tmp_path / "a.slp", [video])
    assert "--origin corner" in _refused(capsys, slp, "--from", "slp", "-o", new, "--origin", "corner")
    # Another video of that name, which ends before the last labelled frame.
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 30, (WIDTH, HEIGHT))
    for frame in range(10):
        writer.write(_grey(frame))
    writer.release()
    assert "ends before frame 23" in _refused(capsys, slp, "--from", "slp", "-o", new)
    assert not new.exists() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("room", [50, 3000], ids=["pictures", "tables"])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    tmp_path: Path, room: int, capsys: pytest.CaptureFixture[str]
) -> None:
    resource = pytest.importorskip("resource")
    source = write_project(tmp_path / "source", images=3)
    file = _lightning(tmp_path / "lp", source)
    assert all(path.stat().st_size < 3000 for path in source.glob("labeled-data/mouse/*.png"))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A file that may not grow meets the same errors as a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limit[1]))
    try:
        line = _refused(capsys, file, "--from", "lightning-pose", "-o", tmp_path / "p")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "written" in line and "make room" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lp", "source"]


def test_a_missing_library_is_named_with_its_extra(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sleap_io", None)
    assert 'pip install "rigpose[sleap]"' in _refused(capsys, tmp_path / "x.slp", "--from", "slp", "-o", tmp_path / "p")


def test_a_new_project_has_the_keys_of_deeplabcuts_own(flies: Path) -> None:
    labels = ImportedLabels(Path("a.csv"), ("nose",), ("individual_1",), named=False, frames=())
    made = new_config(Path("/lab/x"), labels, None)
    assert (made["Task"], made["scorer"], made["multianimalproject"]) == ("x", "imported", False)
    theirs = yaml.safe_load((flies / "config.yaml").read_text())
    # A version that we do not claim, and keys that DeepLabCut itself calls old and ignored.
    assert set(theirs) - set(made) == {"config_version", "pose_config_path", "resnet", "croppedtraining"}
