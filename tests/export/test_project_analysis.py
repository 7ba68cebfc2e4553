"""DeepLabCut's way to analyse: a project and a shuffle; the bundle is made once and kept."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from drawn_shuffle import write_shuffle, write_snapshot

from rigpose.bundles.bundle import Bundle
from rigpose.errors import ConfigError, MediaError, RigposeError
from rigpose.files.results import read_results
from rigpose_export import analyze_images, analyze_videos
from rigpose_training.pose_config.files import read_pose_config, write_pose_config
from rigpose_training.project.config import read_project_config
from rigpose_training.project.create import create_training_dataset
from rigpose_training.project.shuffle import Shuffle, find_shuffle
from rigpose_training.scene.project import write_project, write_video
from rigpose_training.scene.world import Scene

SCORER = "DLC_Resnet50_sceneJan1shuffle1_snapshot_10"


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shuffle, Path]:
    """A project after its first analysis, and the video; tests that change them copy them first."""
    folder = tmp_path_factory.mktemp("drawn")
    shuffle = write_shuffle(folder / "project")
    video = folder / "new.mp4"
    write_video(video, Scene(5, size=(96, 128)), 12)
    assert analyze_videos(shuffle.config.path, [video], shuffle=1, device="cpu", save_as_csv=True) == SCORER
    return shuffle, video


@pytest.fixture
def copied(analysed: tuple[Shuffle, Path], tmp_path: Path) -> tuple[Shuffle, Path]:
    shuffle, video = analysed
    root = Path(shutil.copytree(shuffle.config.root, tmp_path / "project"))
    copy = Path(shutil.copyfile(video, tmp_path / video.name))
    return find_shuffle(read_project_config(root), index=1), copy


def bundles(shuffle: Shuffle) -> dict[str, str]:
    """Checksum by name of the bundles that the project keeps; it names nothing else there."""
    folder = shuffle.config.root / "exported-models-rigpose" / "iteration-0"
    return {path.name: Bundle.open(path).checksum for path in sorted(folder.iterdir())}


def test_the_result_files_are_named_by_the_scorer(analysed: tuple[Shuffle, Path]) -> None:
    _, video = analysed
    names = sorted(path.name for path in video.parent.iterdir() if path.is_file())
    assert names == ["new.mp4", f"new{SCORER}.csv", f"new{SCORER}.h5", f"new{SCORER}_meta.pickle"]
    results = read_results(video.with_name(f"new{SCORER}.h5"))
    assert results.xy.shape == (12, 1, 6, 2) and np.isfinite(results.xy).all()


def test_the_bundle_is_made_once_and_kept(copied: tuple[Shuffle, Path]) -> None:
    shuffle, video = copied
    before = bundles(shuffle)
    assert list(before) == [SCORER]
    manifest = shuffle.config.root / "exported-models-rigpose" / "iteration-0" / SCORER / "manifest.yaml"
    written = manifest.stat().st_mtime_ns
    assert analyze_videos(shuffle.config.path, video, device="cpu") == SCORER
    assert bundles(shuffle) == before and manifest.stat().st_mtime_ns == written
    assert not video.with_name(f"new{SCORER}.csv").exists()


def test_a_newer_snapshot_has_a_bundle_of_its_own(copied: tuple[Shuffle, Path]) -> None:
    shuffle, video = copied
    before = bundles(shuffle)
    write_snapshot(shuffle, "snapshot-020.pt")
    newer = SCORER.replace("_10", "_20")
    assert analyze_videos(shuffle.config.path, video, device="cpu") == newer
    assert bundles(shuffle).keys() == {SCORER, newer} and bundles(shuffle)[SCORER] == before[SCORER]
    assert analyze_videos(shuffle.config.path, video, device="cpu", snapshot_index=0) == SCORER
    first, second = (read_results(video.with_name(f"new{name}.h5")).xy for name in (SCORER, newer))
    assert np.abs(first - second).max() > 1


@pytest.mark.parametrize("what", ["weights", "config", "damaged"])
def test_a_kept_bundle_that_no_longer_fits_is_made_again(
    copied: tuple[Shuffle, Path], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    shuffle, video = copied
    before = bundles(shuffle)
    if what == "weights":
        write_snapshot(shuffle, "snapshot-030.pt").replace(shuffle.train_folder / "snapshot-010.pt")
    elif what == "config":
        with shuffle.pose_config_path.open("a") as config:
            config.write("# edited\n")
    else:
        # As if another rigpose had made it: in int8, too, and for what this one does not have.
        manifest = shuffle.config.root / "exported-models-rigpose" / "iteration-0" / SCORER / "manifest.yaml"
        content = yaml.safe_load(manifest.read_text())
        content["graphs"] += [{**content["graphs"][0], "precision": "int8", "backends": ["onnxruntime", "abacus"]}]
        manifest.write_text(yaml.safe_dump(content))
    assert analyze_videos(shuffle.config.path, video, device="cpu") == SCORER
    assert list(bundles(shuffle)) == [SCORER] and bundles(shuffle) != before
    made = Bundle.open(shuffle.config.root / "exported-models-rigpose" / "iteration-0" / SCORER).manifest
    assert {graph.precision for graph in made.graphs} == ({"fp32", "int8"} if what == "damaged" else {"fp32"})
    assert ("was made again and no longer holds int8 for abacus." in caplog.text) == (what == "damaged")


def metadata(folder: Path, scorer: str) -> dict[str, Any]:
    with (folder / f"new{scorer}_meta.pickle").open("rb") as file:
        return pickle.load(file)["data"]


def test_the_words_of_deeplabcut_are_obeyed(copied: tuple[Shuffle, Path], tmp_path: Path) -> None:
    shuffle, video = copied
    results = tmp_path / "results"
    words: dict[str, Any] = {
        "destfolder": str(results),
        "cropping": [16, 112, 8, 90],
        "batch_size": 5,
        "save_as_csv": True,
    }
    scorer = analyze_videos(
        str(shuffle.config.path), [str(video)], shuffle=1, trainingsetindex=0, device="cpu", **words
    )
    assert sorted(p.suffix for p in results.iterdir()) == [".csv", ".h5", ".pickle"]
    first = metadata(results, scorer)
    assert first["cropping"] is True and list(first["cropping_parameters"]) == [16, 112, 8, 90]
    assert first["batch_size"] == 5
    analyze_videos(shuffle.config.path, video, device="cpu", destfolder=results)
    assert metadata(results, scorer) == first, "a whole result is left alone"
    analyze_videos(shuffle.config.path, video, device="cpu", destfolder=results, overwrite=True)
    again = metadata(results, scorer)
    assert again["cropping"] is False and again["batch_size"] == shuffle.config.batch_size == 8


def test_the_projects_own_cropping_is_obeyed(copied: tuple[Shuffle, Path]) -> None:
    shuffle, video = copied
    text = shuffle.config.path.read_text().replace("cropping: false", "cropping: true").replace("x1: 0", "x1: 32")
    shuffle.config.path.write_text(text)
    scorer = analyze_videos(shuffle.config.path, video, device="cpu")
    assert list(metadata(video.parent, scorer)["cropping_parameters"]) == [32, 128, 0, 96]


def test_a_folder_of_images_becomes_one_table(copied: tuple[Shuffle, Path], tmp_path: Path) -> None:
    shuffle, _ = copied
    folder = shuffle.config.root / "labeled-data" / "walk"
    result = analyze_images(shuffle.config.path, folder, device="cpu", destfolder=tmp_path / "tables")
    assert result.h5 == tmp_path / "tables" / f"image_predictions_{SCORER}.h5"
    assert result.images == tuple(sorted(folder.glob("*.png"))) and len(result.images) == 6
    table = pd.DataFrame(pd.read_hdf(result.h5))
    assert len(table) == 6 and np.isfinite(table.to_numpy()).all() and result.csv is None
    one = analyze_images(shuffle.config.path, str(result.images[2]), device="cpu", save_as_csv=True)
    assert one.h5.parent == folder and one.csv is not None and one.csv.exists()
    alone = pd.DataFrame(pd.read_hdf(one.h5)).to_numpy()
    np.testing.assert_allclose(alone[0], table.to_numpy()[2], rtol=2e-6, atol=0.01)


def test_a_video_that_cannot_be_read_is_named_after_the_others_are_done(copied: tuple[Shuffle, Path]) -> None:
    shuffle, video = copied
    bad = video.with_name("bad.mp4")
    bad.write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"bad\.mp4"):
        analyze_videos(shuffle.config.path, [bad, video], device="cpu")
    assert video.with_name(f"new{SCORER}.h5").exists()


def test_another_device_than_a_bundle_knows_is_refused(analysed: tuple[Shuffle, Path]) -> None:
    shuffle, video = analysed
    with pytest.raises(ConfigError, match="auto, cpu, cuda or cuda:N"):
        analyze_videos(shuffle.config.path, video, device="tpu")


def untrained(folder: Path, net_type: str, **options: Any) -> Shuffle:
    """A shuffle of a drawn project with a snapshot that nobody has to read."""
    write_project(folder, labelled_frames=6, size=(96, 128))
    create_training_dataset(folder, net_type="resnet_50")
    (index,) = create_training_dataset(folder, net_type=net_type, **options)
    shuffle = find_shuffle(read_project_config(folder), index=index)
    (shuffle.train_folder / "snapshot-010.pt").touch()
    return shuffle


def test_a_top_down_shuffle_without_detector_cannot_analyse_videos(tmp_path: Path) -> None:
    shuffle = untrained(tmp_path / "project", "top_down_resnet_50")
    with pytest.raises(ConfigError, match="train the detector"):
        analyze_videos(shuffle.config.path, tmp_path, shuffle.index, device="cpu")


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        ({"source": "file", "filepath": "poses.h5"}, "no poses of a new video"),
        (None, "no rough poses"),
        ({"source": "shuffle", "shuffle": 7}, "shuffles of iteration 0"),
        ({"source": "shuffle", "shuffle": 2}, "only a bottom-up one"),
    ],
)
def test_a_conditional_shuffle_needs_a_model_that_finds_rough_poses(
    tmp_path: Path, conditions: dict[str, Any] | None, says: str
) -> None:
    shuffle = untrained(tmp_path / "project", "ctd_prenet_rtmpose_s", ctd_conditions=1)
    config = read_pose_config(shuffle.pose_config_path)
    config["inference"]["conditions"] = conditions
    write_pose_config(shuffle.pose_config_path, config)
    with pytest.raises(RigposeError, match=says):
        analyze_videos(shuffle.config.path, tmp_path, shuffle.index, device="cpu")
