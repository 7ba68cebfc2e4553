"""``rigpose suggest``: suspicious frames arrive in the project as DeepLabCut's own refinement expects them."""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from drawn_results import KEYPOINTS, draw_results
from drawn_video import CELL, COLUMNS, FRAMES_PER_SECOND, HEIGHT, WIDTH, write_video

from rigpose.errors import MediaError, ProjectError
from rigpose.files.results import ResultFiles, Results, animal_columns, video_columns, write_table
from rigpose.triage.recording import open_recording
from rigpose.videos.metadata import write_meta
from rigpose.videos.video import Crop
from rigpose_training.project.config import read_project_config
from rigpose_training.project.labels import merge_tables
from rigpose_training.project.refinement import extract_frames, frames_in_project
from rigpose_training.project.video_sets import added, find_listed
from rigpose_training.suggest_command import COMMAND

FRAMES = 150
FAULTS = (40, 80, 120)
TWO = ("one", "two")
SCORER = "DLC_drawn"
CONFIG = """\
# Our mice, do not touch
Task: drawn
scorer: me
date: Nov20
multianimalproject: {multi}

video_sets:
  # the first session
  C:\\videos\\old.avi:
    crop: 0, 40, 0, 30

# what we label
{names}
iteration: 3
pcutoff: 0.5   # strict enough
cropping: false
"""


def names(individuals: tuple[str, ...]) -> str:
    parts = "".join(f"\n- {name}" for name in KEYPOINTS)
    if not individuals:
        return f"bodyparts:{parts}"
    return f"multianimalbodyparts:{parts}\nindividuals: [{', '.join(individuals)}]\nbodyparts: MULTI!"


def write_project(root: Path, individuals: tuple[str, ...] = ()) -> Path:
    root.mkdir()
    text = CONFIG.format(multi=str(bool(individuals)).lower(), names=names(individuals))
    (root / "config.yaml").write_text(text, encoding="utf-8")
    return root


def write_results(folder: Path, individuals: tuple[str, ...] = (), *, meta: dict[str, object] | None = None) -> Path:
    """A video whose frames say their number, and its poses, unsure of the nose in ``FAULTS``; returns the table."""
    folder.mkdir()
    video = write_video(folder / "mouse.avi", range(FRAMES), codec="MJPG")
    results = draw_results(FRAMES, individuals=individuals or ("individual_1",))
    results.score[list(FAULTS), 0, 0] = 0.1
    files = ResultFiles.of(video, SCORER)
    table = files.tracks("_el") if individuals else files.h5
    columns = animal_columns(SCORER, individuals, KEYPOINTS) if individuals else video_columns(SCORER, KEYPOINTS)
    write_table(table, rows(results), columns=columns, save_csv=False)
    write_meta(files.meta, {"fps": float(FRAMES_PER_SECOND), **(meta or {})})
    return table


def rows(results: Results) -> np.ndarray:
    return np.concatenate([results.xy, results.score[..., None]], axis=-1).reshape(len(results.xy), -1)


def suggest(*words: object) -> int:
    parser = argparse.ArgumentParser()
    COMMAND.configure(parser)
    return COMMAND.run(parser.parse_args([str(word) for word in words]))


def machine_labels(root: Path) -> pd.DataFrame:
    return pd.DataFrame(pd.read_hdf(root / "labeled-data" / "mouse" / "machinelabels-iter3.h5", "df_with_missing"))


def number_in(image: Path) -> int:
    """What the frame says: its brightest cell."""
    light = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
    assert light is not None
    cells = light.reshape(HEIGHT // CELL, CELL, WIDTH // CELL, CELL).mean(axis=(1, 3))
    row, column = np.unravel_index(cells.argmax(), cells.shape)
    return int(row * COLUMNS + column)


@pytest.mark.parametrize("individuals", [(), TWO])
def test_frames_arrive_with_their_predictions(
    tmp_path: Path, individuals: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    root, table = write_project(tmp_path / "project", individuals), write_results(tmp_path / "videos", individuals)
    assert suggest(table, "--project", root) == 0
    output = capsys.readouterr().out
    assert "3 of 150 frames are worth labelling" in output and "nose 0.10" in output and "1.60 s" in output
    folder = root / "labeled-data" / "mouse"
    images = [f"img{frame:03}.png" for frame in FAULTS]
    assert sorted(path.name for path in folder.iterdir()) == [*images, "machinelabels-iter3.h5", "machinelabels.csv"]
    # Exactly these frames: what each shows is its own number.
    assert [number_in(folder / image) for image in images] == list(FAULTS)
    written = machine_labels(root)
    assert list(written.index) == [("labeled-data", "mouse", image) for image in images]
    expected = pd.DataFrame(pd.read_hdf(table))
    assert written.columns.equals(expected.columns)
    assert written.to_numpy() == pytest.approx(expected.loc[list(FAULTS)].to_numpy(), abs=1e-4)
    header = 4 if individuals else 3
    text = pd.read_csv(folder / "machinelabels.csv", header=list(range(header)), index_col=[0, 1, 2])
    assert text.to_numpy() == pytest.approx(written.to_numpy())


def test_the_video_is_listed_and_nothing_else_of_the_config_changes(tmp_path: Path) -> None:
    root, table = write_project(tmp_path / "project"), write_results(tmp_path / "videos")
    before = (root / "config.yaml").read_text()
    assert suggest(table, "--project", root) == 0
    after = (root / "config.yaml").read_text()
    entry = f"  {tmp_path}/videos/mouse.avi:\n    crop: 0, {WIDTH}, 0, {HEIGHT}\n"
    assert after == before.replace("    crop: 0, 40, 0, 30\n", f"    crop: 0, 40, 0, 30\n{entry}")
    assert read_project_config(root).videos == ("old", "mouse")


def test_a_second_round_adds_and_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, table = write_project(tmp_path / "project"), write_results(tmp_path / "videos")
    assert suggest(table, "--project", root, "--frames", 2) == 0
    first, folder = machine_labels(root), root / "labeled-data" / "mouse"
    kept = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    config = (root / "config.yaml").read_text()
    assert len(kept) == 2
    assert suggest(table, "--project", root) == 0
    second = machine_labels(root)
    assert len(second) == 3 and second.iloc[:2].equals(first)
    assert all((folder / name).read_bytes() == content for name, content in kept.items())
    assert (root / "config.yaml").read_text() == config
    capsys.readouterr()
    assert suggest(table, "--project", root) == 0
    assert "none of 150 frames looks worth labelling" in capsys.readouterr().out


def test_labelled_frames_are_left_out(tmp_path: Path) -> None:
    root, table = write_project(tmp_path / "project"), write_results(tmp_path / "videos")
    folder = root / "labeled-data" / "mouse"
    folder.mkdir(parents=True)
    columns = pd.MultiIndex.from_product([["me"], KEYPOINTS, ["x", "y"]], names=["scorer", "bodyparts", "coords"])
    # The older form of a row, from Windows, and another number of digits.
    labelled = pd.DataFrame(1.0, index=["labeled-data\\mouse\\img0080.png"], columns=columns)
    labelled.to_hdf(folder / "CollectedData_me.h5", key="df_with_missing")
    assert frames_in_project(read_project_config(root), tmp_path / "videos" / "mouse.avi") == {80}
    assert suggest(table, "--project", root) == 0
    assert [row[2] for row in machine_labels(root).index] == ["img040.png", "img120.png"]


def test_a_dry_run_writes_nothing_and_needs_no_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, table = write_project(tmp_path / "project"), write_results(tmp_path / "videos")
    before = sorted(path for path in tmp_path.rglob("*"))
    assert suggest(table, "--project", root, "--dry-run") == 0
    assert suggest(table, "--dry-run", "--by", "score", "--frames", 1) == 0
    assert "1 of 150 frames are worth labelling" in capsys.readouterr().out
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert suggest(table) == 1
    assert "name it with --project" in capsys.readouterr().err


def test_the_project_of_the_model_is_the_default_and_a_video_names_its_results(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project")
    meta: dict[str, object] = {"pytorch-config": {"metadata": {"project_path": str(root)}}}
    write_results(tmp_path / "videos", meta=meta)
    (tmp_path / "videos" / f"mouse{SCORER}.h5").rename(tmp_path / "videos" / "mouseDLC_x.h5")
    write_meta(tmp_path / "videos" / "mouseDLC_x_meta.pickle", meta)
    assert suggest(tmp_path / "videos" / "mouse.avi") == 0
    assert len(machine_labels(root)) == 3


def test_crops_move_the_predictions_into_the_image(tmp_path: Path) -> None:
    analysed = {"cropping": True, "cropping_parameters": [24, 160, 16, 96]}
    root, table = write_project(tmp_path / "project"), write_results(tmp_path / "videos", meta=analysed)
    config = root / "config.yaml"
    config.write_text(
        config.read_text()
        .replace("cropping: false", "cropping: true\nx1: 8\nx2: 160\ny1: 16\ny2: 96")
        .replace("\n# what", "  /elsewhere/mouse.avi:\n    crop: [8, 160, 16, 96]\n\n# what")
    )
    assert suggest(table, "--project", root) == 0
    image = cv2.imread(str(root / "labeled-data" / "mouse" / "img080.png"))
    assert image is not None and image.shape == (80, 152, 3)
    expected = pd.DataFrame(pd.read_hdf(table)).loc[80].to_numpy().reshape(-1, 3) + np.array([24 - 8, 16 - 16, 0])
    assert machine_labels(root).to_numpy()[1] == pytest.approx(expected.ravel(), abs=1e-4)


def test_a_lost_frame_shifts_no_picture(tmp_path: Path) -> None:
    root = write_project(tmp_path / "project")
    table = write_results(tmp_path / "videos", meta={"rigpose": {"missing_frames": [10, 60, 120]}})
    # Three rows more than pictures.
    write_video(tmp_path / "videos" / "mouse.avi", [n for n in range(FRAMES) if n not in (10, 60, 120)], codec="MJPG")
    assert suggest(table, "--project", root) == 0
    folder = root / "labeled-data" / "mouse"
    assert {path.name: number_in(path) for path in folder.glob("*.png")} == {"img040.png": 40, "img080.png": 80}


def test_a_video_that_is_too_short_leaves_no_trace(tmp_path: Path) -> None:
    root, table = write_project(tmp_path / "project"), write_results(tmp_path / "videos")
    write_video(tmp_path / "videos" / "mouse.avi", range(100), codec="MJPG")
    config = (root / "config.yaml").read_bytes()
    with pytest.raises(MediaError, match=r"ends before frame 120 .*analyse it again"):
        extract_frames(read_project_config(root), open_recording(table), FAULTS)
    assert sorted(root.rglob("*")) == [root / "config.yaml", root / "labeled-data"]
    assert (root / "config.yaml").read_bytes() == config


@pytest.mark.parametrize("writer", ["to_hdf", "to_csv"])
def test_a_full_disk_leaves_no_image_without_machine_labels(
    tmp_path: Path, writer: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root, table = write_project(tmp_path / "project"), write_results(tmp_path / "videos")
    before = (root / "config.yaml").read_bytes()
    with monkeypatch.context() as patch:
        # HDF5 says nothing on a full disk; its file is then cut short.
        patch.setattr(pd.DataFrame, writer, lambda _, path, **__: cut_short(path, silent=writer == "to_hdf"))
        assert suggest(table, "--project", root) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert sorted(root.rglob("*")) == [root / "config.yaml", root / "labeled-data"]
    assert (root / "config.yaml").read_bytes() == before
    assert suggest(table, "--project", root) == 0 and len(machine_labels(root)) == 3


def cut_short(path: Path, *, silent: bool) -> None:
    path.write_bytes(b"\x89HDF")
    if not silent:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_what_does_not_belong_together_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    single, several = write_results(tmp_path / "single"), write_results(tmp_path / "several", TWO)
    other = write_project(tmp_path / "other")
    text = (other / "config.yaml").read_text()
    (other / "config.yaml").write_text(text.replace("- nose", "- snout"))
    cases = [
        (single, other, "its keypoint nose is not in"),
        (several, write_project(tmp_path / "one"), "of several animals"),
        (several, write_project(tmp_path / "names", ("one", "three")), "its animal two is not among"),
        (tmp_path / "nothing.h5", tmp_path / "one", "no such result file"),
    ]
    for table, project, sentence in cases:
        assert suggest(table, "--project", project) == 1
        assert sentence in capsys.readouterr().err
    # Another video of the same name, which is here to compare.
    (tmp_path / "mouse.avi").write_bytes(b"another video")
    text = (tmp_path / "one" / "config.yaml").read_text()
    (tmp_path / "one" / "config.yaml").write_text(text.replace("C:\\videos\\old.avi", str(tmp_path / "mouse.avi")))
    assert suggest(single, "--project", tmp_path / "one") == 1
    assert "lists another video of this name" in capsys.readouterr().err
    assert not (tmp_path / "one" / "labeled-data").exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("video_sets: {}\nx: 1\n", "video_sets:\n  /v/a.avi:\n    crop: 0, 4, 0, 3\nx: 1\n"),
        ("video_sets:\nx: 1\n", "video_sets:\n  /v/a.avi:\n    crop: 0, 4, 0, 3\nx: 1\n"),
        (
            "x: 1\nvideo_sets:\n    ? b.avi\n    : crop: 0, 1, 0, 1",
            "x: 1\nvideo_sets:\n    ? b.avi\n    : crop: 0, 1, 0, 1\n    /v/a.avi:\n      crop: 0, 4, 0, 3\n",
        ),
        (
            "# caf\xe9\r\nvideo_sets:\r\n  b.avi:\r\n    crop: 0, 1\r\nx: 1\r\n",
            "# caf\xe9\r\nvideo_sets:\r\n  b.avi:\r\n    crop: 0, 1\r\n  /v/a.avi:\r\n    crop: 0, 4, 0, 3\r\nx: 1\r\n",
        ),
    ],
)
def test_a_video_is_added_to_any_block_of_videos(tmp_path: Path, before: str, after: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_bytes(before.encode("latin-1"))
    assert added(config, {Path("/v/a.avi"): Crop(0, 4, 0, 3)}) == after.encode("latin-1")


@pytest.mark.parametrize("name", ["a video: 1.avi", "o'clock.avi", "\u732b.avi", "#1.avi", "v" * 140 + ".avi"])
def test_any_name_of_a_video_can_be_added(tmp_path: Path, name: str) -> None:
    config = write_project(tmp_path / "project") / "config.yaml"
    video = tmp_path / name
    config.write_bytes(added(config, {video: Crop(0, 4, 0, 3)}))
    listed = find_listed(config, video)
    assert listed is not None and (listed.path, listed.crop) == (str(video), Crop(0, 4, 0, 3))


@pytest.mark.parametrize("text", ["video_sets: {b.avi: {crop: 1}}\n", "x: 1\n", "video_sets:\n- b.avi\n"])
def test_a_list_of_videos_in_another_style_is_left_to_a_person(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(text)
    with pytest.raises(ProjectError, match=r"add the video /v/a.avi with crop: 0, 4, 0, 3 there by hand"):
        added(config, {Path("/v/a.avi"): Crop(0, 4, 0, 3)})


def test_refined_labels_train(tmp_path: Path) -> None:
    root, table = write_project(tmp_path / "project", TWO), write_results(tmp_path / "videos", TWO)
    assert suggest(table, "--project", root) == 0
    # What DeepLabCut's labelling window does when a person saves: likelihood dropped, the project's scorer.
    refined = machine_labels(root).drop("likelihood", axis=1, level="coords")
    refined = refined.rename(columns={SCORER: "me"}, level="scorer")
    refined.to_hdf(root / "labeled-data" / "mouse" / "CollectedData_me.h5", key="df_with_missing")
    merged = merge_tables(read_project_config(root))
    assert len(merged) == 3 and merged.to_numpy() == pytest.approx(refined.to_numpy())


PYTHON = os.environ.get("RIGPOSE_DEEPLABCUT_PYTHON", "")
SCRIPT = Path(__file__).parents[1] / "deeplabcut" / "refine_suggested.py"


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="RIGPOSE_DEEPLABCUT_PYTHON names no Python that has DeepLabCut 3")
@pytest.mark.parametrize("individuals", [(), TWO])
def test_deeplabcut_extracts_the_same_and_merges_what_was_refined(tmp_path: Path, individuals: tuple[str, ...]) -> None:
    """Its own extraction of the same frames gives the same images and table, and its readers take ours."""
    ours, table = write_project(tmp_path / "ours", individuals), write_results(tmp_path / "videos", individuals)
    theirs = Path(shutil.copytree(ours, tmp_path / "theirs"))
    assert suggest(table, "--project", ours) == 0
    command = [PYTHON, str(SCRIPT), str(ours), str(theirs), str(tmp_path / "videos" / "mouse.avi"), str(table)]
    done = subprocess.run([*command, json.dumps(FAULTS)], capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
    assert found, done.stderr[-3000:]
    facts = json.loads(found[0].removeprefix("FOUND "))
    assert facts == {
        "files": [*(f"img{frame:03}.png" for frame in FAULTS), "machinelabels-iter3.h5", "machinelabels.csv"],
        "same_images": True,
        "same_table": True,
        "refused_to_merge": True,
        "iteration": 4,
        "merged_rows": 3,
        "videos": ["mouse", "old"],
    }
