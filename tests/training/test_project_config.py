"""``config.yaml`` as labs have it."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects_on_disk import write_project

from rigpose.errors import ProjectError
from rigpose_training.project.config import read_project_config

MINIMAL = "Task: reach\nscorer: Mackenzie\ndate: Aug30\nbodyparts:\n- hand\n- finger\n"


def write(folder: Path, text: str) -> Path:
    (folder / "config.yaml").write_text(text)
    return folder


def test_the_folder_and_the_file_name_the_same_project(tmp_path: Path) -> None:
    project = write_project(tmp_path)
    assert read_project_config(project) == read_project_config(str(project / "config.yaml"))


def test_a_stale_project_path_is_replaced_by_the_files_folder(tmp_path: Path) -> None:
    assert read_project_config(write_project(tmp_path / "moved")).root == tmp_path / "moved"


def test_an_old_file_gets_deeplabcuts_defaults(tmp_path: Path) -> None:
    config = read_project_config(write(tmp_path, MINIMAL + "identity:\nresnet:\nvideo_sets: ''\nskeleton: ''\n"))
    assert (config.multi_animal, config.identity, config.iteration) == (False, None, 0)
    assert config.track_method is None
    assert (config.training_fractions, config.default_net_type, config.pcutoff) == ((0.95,), "resnet_50", 0.6)
    assert (config.individuals, config.skeleton, config.videos) == (("individual_1",), (), ())


def test_keys_that_nobody_knows_are_passed_over(tmp_path: Path) -> None:
    read_project_config(write(tmp_path, MINIMAL + "lab_notes:\n  mouse: 7\n7: odd\n"))


@pytest.mark.parametrize("key", ["Task", "scorer", "date", "bodyparts"])
def test_a_key_without_which_nothing_is_found_is_named(tmp_path: Path, key: str) -> None:
    text = MINIMAL.replace(f"{key}:", "other:")
    with pytest.raises(ProjectError, match=rf"config\.yaml has no {key}\b"):
        read_project_config(write(tmp_path, text))


def test_a_multi_animal_project_takes_its_own_lists(tmp_path: Path) -> None:
    config = read_project_config(write_project(tmp_path, individuals=("a", "b"), unique=("corner",)))
    assert config.multi_animal
    assert (config.bodyparts, config.unique_bodyparts, config.individuals) == (
        ("nose", "tail"),
        ("corner",),
        ("a", "b"),
    )


def test_lists_of_a_single_animal_project_that_mean_nothing_there_are_empty(tmp_path: Path) -> None:
    config = read_project_config(write(tmp_path, MINIMAL + "uniquebodyparts: [x]\nindividuals: [a, b]\n"))
    assert (config.unique_bodyparts, config.individuals) == ((), ("individual_1",))


def test_video_stems_come_from_paths_of_any_system(tmp_path: Path) -> None:
    videos = "video_sets:\n  C:\\Users\\x\\m1.avi: {crop: '0, 1, 0, 1'}\n  /data/m.2.mp4:\n  /other/m1.avi:\n"
    assert read_project_config(write(tmp_path, MINIMAL + videos)).videos == ("m1", "m.2")


def test_names_that_look_like_other_things_stay_names(tmp_path: Path) -> None:
    text = MINIMAL.replace("- hand", "- no").replace("- finger", "- 12").replace("Task: reach", "Task: 2018")
    config = read_project_config(write(tmp_path, text))
    assert (config.bodyparts, config.task) == (("no", "12"), "2018")


def test_cropping_counts_only_when_it_is_on(tmp_path: Path) -> None:
    corners = "x1: 1\nx2: 20\ny1: 3\ny2: 40\n"
    assert read_project_config(write(tmp_path, MINIMAL + corners + "cropping: false\n")).cropping is None
    assert read_project_config(write(tmp_path, MINIMAL + corners + "cropping: true\n")).cropping == (1, 20, 3, 40)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("pcutoff: high", "pcutoff: expected float"),
        ("iteration: one", "iteration: expected int"),
        ("TrainingFraction: [a]", "TrainingFraction"),
        ("bodyparts: hand", "bodyparts is 'hand'"),
        ("bodyparts: [a, b, a]", "lists a twice"),
    ],
)
def test_a_value_of_the_wrong_kind_is_one_sentence(tmp_path: Path, line: str, says: str) -> None:
    key = line.partition(":")[0]
    kept = [text for text in MINIMAL.split("\n") if not (key == "bodyparts" and text.startswith(("-", "bodyparts")))]
    with pytest.raises(ProjectError, match=says) as caught:
        read_project_config(write(tmp_path, "\n".join(kept) + line + "\n"))
    assert "config.yaml" in str(caught.value) and "\n" not in str(caught.value)


def test_an_individual_may_not_own_the_unique_bodyparts_name(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="called single"):
        read_project_config(write_project(tmp_path, individuals=("single", "b")))


def test_a_missing_project_is_a_project_error(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="does not exist"):
        read_project_config(tmp_path)


def test_real_projects_are_read(openfield: Path, flies: Path) -> None:
    assert read_project_config(openfield).bodyparts == ("snout", "leftear", "rightear", "tailbase")
    config = read_project_config(flies)
    assert len(config.bodyparts) == 12 and config.individuals == ("fly1", "fly2")
    assert config.skeleton[0] == ("head", "thorax")
