"""Drawing poses into frames."""

from __future__ import annotations

import numpy as np
import pytest

from rigpose.errors import ConfigError
from rigpose.poses import Poses
from rigpose.videos.drawing import COLORMAPS, DrawStyle, draw_poses, keypoint_colours


def _pose(*points: tuple[float, float], score: float = 1.0) -> Poses:
    xy = np.asarray(points, np.float32)[None]
    return Poses(xy, np.full(xy.shape[:2], score, np.float32))


def _touched(picture: np.ndarray) -> tuple[float, float]:
    """Centre of all pixels that were drawn on black, counted from the centre of the first pixel, as labels are."""
    y, x = np.nonzero(picture.any(axis=-1))
    return x.mean(), y.mean()


def test_a_dot_is_drawn_where_the_keypoint_is() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    for point in ((20.0, 30.0), (40.5, 20.5)):
        picture = draw_poses(black, _pose(point), style=DrawStyle(radius=4))
        # A tenth of a pixel: the anti-aliased rim is not quite symmetric; half a pixel would be a bug.
        assert _touched(picture) == pytest.approx(point, abs=0.1)
    assert not black.any()


def test_what_is_missing_or_unsure_is_not_drawn() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    style = DrawStyle(pcutoff=0.6, skeleton=((0, 1),), skeleton_color="white", trail=2)
    for poses in (_pose((20, 20), (np.nan, np.nan), score=0.5), _pose((np.nan, 5), (np.nan, np.nan)), Poses.empty(2)):
        assert not draw_poses(black, poses, style=style, earlier=[_pose((3, 3), (9, 9))]).any()


def test_the_skeleton_joins_its_keypoints() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    poses = _pose((10, 30), (70, 30))
    without = draw_poses(black, poses, style=DrawStyle())
    with_it = draw_poses(black, poses, style=DrawStyle(skeleton=((0, 1),), skeleton_color="white"))
    assert not without[30, 40].any()
    assert with_it[30, 40].tolist() == [255, 255, 255]


def test_the_trail_shows_where_a_keypoint_was() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    earlier = [_pose((10, 10)), _pose((10, 50))]
    picture = draw_poses(black, _pose((70, 50)), style=DrawStyle(trail=2), earlier=earlier)
    assert picture[30, 10].any() and picture[50, 40].any()


def test_the_trail_fades_with_time_and_is_drawn_where_the_keypoint_was() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    path = [_pose((x, 30)) for x in range(10, 71, 10)]
    picture = draw_poses(black, path[-1], style=DrawStyle(radius=1, trail=6), earlier=path[:-1])
    middles = picture[30, [15, 25, 35, 45, 55, 65], 2].astype(float)
    # Six lines between seven positions; 0.02 is three brightness steps of the newest, from rounding.
    np.testing.assert_allclose(middles / middles[-1], np.arange(1, 7) / 6, atol=0.02)
    assert not picture[:28].any() and not picture[33:].any()


def test_a_trail_that_leaves_the_frame_is_cut_at_its_edge() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    style = DrawStyle(radius=1, trail=2)
    picture = draw_poses(black, _pose((200, 30)), style=style, earlier=[_pose((10, 30))])
    assert picture[30, 79].any()
    picture = draw_poses(black, _pose((200, -30)), style=style, earlier=[_pose((150, -9))])
    assert not picture.any()


@pytest.mark.parametrize("name", sorted(COLORMAPS))
def test_every_colormap_gives_a_colour_per_keypoint(name: str) -> None:
    colours = keypoint_colours(6, name)
    assert len(colours) == 6 and len(set(colours)) >= 5
    assert keypoint_colours(6, f"{name}_r") == colours[::-1]


def test_rainbow_runs_from_violet_to_red_as_in_the_project() -> None:
    first, *_, last = keypoint_colours(5, "rainbow")
    assert last == (0, 0, 255)
    assert first[0] > 200


def test_an_unknown_colormap_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean viridis"):
        keypoint_colours(3, "virids")
    with pytest.raises(ConfigError, match="skeleton colour 'blak' is not known; did you mean black"):
        draw_poses(np.zeros((9, 9, 3), np.uint8), _pose((1, 1)), style=DrawStyle(skeleton_color="blak"))


def _animals(*points: tuple[float, float], unique: tuple[float, float, float] | None = None) -> Poses:
    """Animals of one keypoint each."""
    xy = np.asarray(points, np.float32)[:, None]
    return Poses(xy, np.ones(xy.shape[:2], np.float32), unique=None if unique is None else np.asarray([unique]))


def test_a_colour_tells_the_animal_or_the_keypoint() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    two = Poses(np.array([[[10, 10], [10, 40]], [[60, 10], [60, 40]]], np.float32), np.ones((2, 2), np.float32))
    by_animal = draw_poses(black, two, style=DrawStyle(color_by="individual"))
    by_keypoint = draw_poses(black, two, style=DrawStyle())
    first, second = keypoint_colours(2, "rainbow")
    for x, y, animal, keypoint in ((10, 10, first, first), (60, 40, second, second), (60, 10, second, first)):
        assert tuple(by_animal[y, x]) == animal and tuple(by_keypoint[y, x]) == keypoint


def test_a_trail_and_a_colour_follow_the_track_while_others_are_absent() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    nowhere = (np.nan, np.nan)
    path = [_animals((10, 10), (10, 40)), _animals(nowhere, (40, 40)), _animals(nowhere, (70, 40))]
    style = DrawStyle(radius=1, trail=5, color_by="individual")
    picture = draw_poses(black, path[-1], style=style, earlier=path[:-1])
    assert picture[40, 55].any() and not picture[5:35].any()
    assert tuple(picture[40, 70]) == keypoint_colours(2, "rainbow")[1]


def test_unique_keypoints_are_rings() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    for color_by in ("individual", "bodypart"):
        style = DrawStyle(radius=6, color_by=color_by)
        picture = draw_poses(black, _animals((60, 30), unique=(20, 30, 0.9)), style=style)
        assert picture[30, 26].any() and not picture[30, 20].any() and picture[30, 60].any()
        unsure = draw_poses(black, _animals((60, 30), unique=(20, 30, 0.1)), style=style)
        assert not unsure[:, :40].any()


def test_a_box_is_around_the_keypoints_that_are_seen() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    poses = Poses(np.array([[[20, 20], [50, 40], [70, 5]]], np.float32), np.array([[1, 1, 0.1]], np.float32))
    picture = draw_poses(black, poses, style=DrawStyle(radius=3, boxes=True, color_by="individual"))
    y, x = np.nonzero(picture.any(axis=-1))
    # Twice the radius to each side, and one pixel for the line's smooth edge.
    assert abs(x.min() - 14) <= 1 and abs(x.max() - 56) <= 1 and abs(y.min() - 14) <= 1 and abs(y.max() - 46) <= 1


def test_names_are_written_inside_the_picture_and_not_upon_each_other() -> None:
    black = np.zeros((240, 320, 3), np.uint8)
    style = DrawStyle(radius=2, color_by="individual")

    def written(poses: Poses, *names: str) -> np.ndarray:
        with_names = draw_poses(black, poses, style=style, names=names)
        return (with_names != draw_poses(black, poses, style=style)).any(axis=-1)

    assert np.nonzero(written(_animals((160, 120)), "fly1"))[0].max() < 120
    assert np.nonzero(written(_animals((160, 4)), "fly1"))[0].min() > 4  # there is no room above
    corner = written(_animals((318, 120)), "individual_1")
    assert corner.any() and not corner[:, 319].any()
    both = written(_animals((160, 120), (162, 120)), "fly1", "fly2")
    rows = np.flatnonzero(both.any(axis=1))
    assert rows.min() < 115 and rows.max() > 125
    assert not written(_animals((np.nan, np.nan)), "fly1").any()
