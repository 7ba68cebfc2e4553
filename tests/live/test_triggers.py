"""Trigger rules: what they mean, that they cannot chatter, and that what is not known is off."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_poses import MICE, MOUSE, NAMES, found_of, frame_at, poses_of

from rigpose.errors import ConfigError, ResultError
from rigpose.live.triggers.change_log import write_changes
from rigpose.live.triggers.rule_file import parse_rules
from rigpose.live.triggers.timing import Timing
from rigpose.live.triggers.triggers import Triggers, read_triggers
from rigpose.models.model_spec import ModelSpec

SQUARE = [[0, 0], [100, 0], [100, 100], [0, 100]]
IN = {"in_polygon": {"keypoint": "snout", "polygon": SQUARE}}


def triggers(when: Any, *, spec: ModelSpec = MICE, cameras: tuple[str, ...] = ("top",), **more: Any) -> Triggers:
    rules = parse_rules({"rules": {"go": {"when": when, **more}}}, spec.keypoints, where="rules.yaml")
    return Triggers(rules, spec, cameras, predicting=True)


def at(x: float, y: float) -> list[tuple[float, float]]:
    """An animal with its snout there, and the others 10 px to the right and below it."""
    return [(x, y), (x + 10, y), (x + 10, y + 10)]


def states(rules: Triggers, xs: list[float], *, fps: float = 100.0) -> list[bool]:
    """Of one animal whose snout goes through these x, at y = 50."""
    return [rules.judge(frame_at(i / fps, number=i), found_of([at(x, 50)]))["go"] for i, x in enumerate(xs)]


# -- conditions


def test_a_keypoint_in_a_polygon() -> None:
    assert states(triggers(IN), [-1, 0, 50, 100, 101]) == [False, True, True, True, False]


def test_the_polygons_own_margin_keeps_it_inside() -> None:
    rules = triggers({"in_polygon": {"keypoint": "snout", "polygon": SQUARE, "leave_margin": 5}})
    assert states(rules, [104, 99, 104, 106, 104]) == [False, True, True, False, False]


@settings(max_examples=60, deadline=None)
@given(
    corners=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), min_size=3, max_size=7, unique=True),
    point=st.tuples(st.integers(-5, 65), st.integers(-5, 65)),
)
def test_inside_is_what_a_ray_says(corners: list[tuple[int, int]], point: tuple[int, int]) -> None:
    # half a pixel off the corners' grid, so that no ray meets a corner; a point on a border may be taken either way
    x, y = point[0] + 0.5, point[1] + 0.25
    edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    crossed = 0
    for (ax, ay), (bx, by) in edges:
        length = math.hypot(bx - ax, by - ay)
        along = min(1.0, max(0.0, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length**2))
        if math.hypot(ax + along * (bx - ax) - x, ay + along * (by - ay) - y) < 1e-3:
            return
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            crossed += 1
    rules = triggers({"in_polygon": {"keypoint": "snout", "polygon": [list(c) for c in corners]}})
    assert rules.judge(frame_at(0), found_of([at(x, y)]))["go"] == (crossed % 2 == 1)


def test_speed_is_the_way_over_the_time_between_exposures() -> None:
    rules = triggers({"speed": {"keypoint": "snout", "above": 390, "over_seconds": 0.05}})
    # 4 px per frame at 100 fps are 400 px/s, known only when there was a frame 50 ms before
    assert states(rules, [4.0 * i for i in range(8)]) == [False] * 5 + [True] * 3
    slower = triggers({"speed": {"keypoint": "snout", "above": 390, "over_seconds": 0.05}})
    assert states(slower, [4.0 * i for i in range(8)], fps=90) == [False] * 8


def test_speed_of_a_slow_camera_is_from_frame_to_frame() -> None:
    rules = triggers({"speed": {"keypoint": "snout", "above": 100, "over_seconds": 0.01}})
    assert states(rules, [0, 5, 10, 10], fps=25) == [False, True, True, False]


def test_speed_follows_the_animal_and_not_the_row() -> None:
    rules = triggers({"speed": {"keypoint": "snout", "above": 100, "over_seconds": 0.01}})
    animals = [at(0, 0), at(200, 0)]
    for i in range(6):
        order = [0, 1] if i % 2 else [1, 0]
        found = found_of([animals[k] for k in order], ids=[(7, 3)[k] for k in order])
        assert not rules.judge(frame_at(i / 100, number=i), found)["go"]
    assert rules.judge(frame_at(0.06), found_of([animals[0], at(202, 0)], ids=[7, 3]))["go"]


def test_a_newcomer_and_an_animal_without_a_number_have_no_speed() -> None:
    rules = triggers({"speed": {"keypoint": "snout", "above": 100, "over_seconds": 0.01}})
    for i, (x, number) in enumerate([(0, 1), (50, 2), (100, -1), (150, -1)]):
        assert not rules.judge(frame_at(i / 100), found_of([at(x, 0)], ids=[number]))["go"]


def test_distance_and_angle() -> None:
    folded, straight = [(0, 0), (30, 0), (30, 40)], [(0, 0), (30, 0), (60, 0)]
    near = triggers({"distance": {"keypoints": ["snout", "tail"], "below": 50.5}})
    assert near.judge(frame_at(0), found_of([folded]))["go"]
    assert not near.judge(frame_at(0.01), found_of([straight]))["go"]
    bent = triggers({"angle": {"keypoints": ["snout", "neck", "tail"], "below": 90.01, "leave": 179}})
    assert bent.judge(frame_at(0), found_of([folded]))["go"]
    assert not bent.judge(frame_at(0.01), found_of([straight]))["go"]
    nowhere = triggers({"not": {"angle": {"keypoints": ["snout", "neck", "tail"], "above": 90}}})
    assert not nowhere.judge(frame_at(0), found_of([[(5, 5), (5, 5), (9, 9)]]))["go"]


def test_the_centre_is_of_sure_keypoints_only() -> None:
    rules = triggers({"in_polygon": {"keypoint": "centre", "polygon": SQUARE}})
    animal = [(90, 50), (104, 50), (1000, 50)]
    assert rules.judge(frame_at(0), found_of([animal], np.array([0.9, 0.9, 0.1])))["go"]
    assert not rules.judge(frame_at(0.01), found_of([animal]))["go"]
    assert not rules.judge(frame_at(0.02), found_of([animal], 0.1))["go"]


def test_a_models_own_keypoint_named_centre_is_meant() -> None:
    spec = ModelSpec("single_animal", "drawn", ("snout", "centre", "tail"))
    rules = triggers({"in_polygon": {"keypoint": "centre", "polygon": SQUARE}}, spec=spec)
    assert rules.judge(frame_at(0), found_of([[(500, 0), (50, 50), (500, 0)]]))["go"]


def test_predicted_poses_count_where_a_rule_says_so() -> None:
    rules = triggers(IN, poses="predicted")
    inside, outside = found_of([at(50, 50)]), found_of([at(500, 50)])
    assert not rules.judge(frame_at(0), inside, poses_of([at(500, 50)]))["go"]
    assert rules.judge(frame_at(0.01), outside, poses_of([at(50, 50)]))["go"]
    assert not rules.judge(frame_at(0.02), inside, None)["go"]


# -- what is not known


@pytest.mark.parametrize("when", [IN, {"not": IN}, {"all": [IN, {"not": IN}]}, {"not": {"all": [IN, IN]}}])
def test_missing_keypoints_never_hold(when: Any) -> None:
    for score in (0.3, np.nan):
        assert not triggers(when).judge(frame_at(0), found_of([at(50, 50)], score))["go"]
        assert not triggers(when).judge(frame_at(0), found_of([at(500, 50)], score))["go"]
    lost = found_of([[(math.nan, math.nan)] * 3], np.nan)
    assert not triggers(when).judge(frame_at(0), lost)["go"]
    assert not triggers(when).judge(frame_at(0), found_of([]))["go"]
    assert not triggers(when).judge(frame_at(0), found_of([[(math.nan, math.nan)] * 3], 0.9))["go"]


def test_any_needs_one_part_that_is_known_to_hold() -> None:
    score = np.array([0.9, 0.1, 0.1])
    unknown = {"score": {"keypoint": "neck", "above": 0.5}}
    missing = {"distance": {"keypoints": ["neck", "tail"], "above": 0}}
    assert triggers({"any": [missing, IN]}).judge(frame_at(0), found_of([at(50, 50)], score))["go"]
    assert not triggers({"any": [missing, {"not": IN}]}).judge(frame_at(0), found_of([at(50, 50)], score))["go"]
    assert triggers({"not": unknown}).judge(frame_at(0), found_of([at(50, 50)], score))["go"]  # a low score is known


def test_both_parts_must_hold_for_the_same_animal() -> None:
    left = {"in_polygon": {"keypoint": "snout", "polygon": SQUARE}}
    long = {"distance": {"keypoints": ["snout", "tail"], "above": 100}}
    one, other = at(50, 50), [(300, 0), (400, 0), (500, 0)]
    rules = triggers({"all": [left, long]})
    assert not rules.judge(frame_at(0), found_of([one, other]))["go"]
    assert rules.judge(frame_at(0.01), found_of([one, [(50, 50), (100, 50), (160, 50)]]))["go"]


def test_one_animal_by_its_number() -> None:
    rules = triggers(IN, animal=4)
    assert not rules.judge(frame_at(0), found_of([at(50, 50), at(500, 0)], ids=[3, 4]))["go"]
    assert rules.judge(frame_at(0.01), found_of([at(500, 50), at(50, 0)], ids=[3, 4]))["go"]


def test_more_animals_than_a_word_has_bits() -> None:
    animals = [at(500, 0)] * 69 + [at(50, 50)]
    assert triggers(IN).judge(frame_at(0), found_of(animals))["go"]
    assert not triggers(IN).judge(frame_at(0), found_of(animals[:69]))["go"]


_POINTS = st.sampled_from([*NAMES, "centre"])
_LIMITS = st.integers(0, 179).map(lambda whole: whole + 0.37)  # no distance or angle between whole pixels is one
_LEAVES = st.one_of(
    st.builds(lambda p: {"in_polygon": {"keypoint": p, "polygon": SQUARE}}, _POINTS),
    st.builds(lambda a, b, d: {"distance": {"keypoints": [a, b], "below": d}}, _POINTS, _POINTS, _LIMITS),
    st.builds(lambda p, s: {"score": {"keypoint": p, "above": s}}, st.sampled_from(NAMES), st.floats(0.05, 0.95)),
    st.builds(lambda a: {"angle": {"keypoints": ["snout", "neck", "tail"], "above": a}}, _LIMITS),
)
_TREES = st.recursive(
    _LEAVES,
    lambda parts: st.one_of(
        st.builds(lambda part: {"not": part}, parts),
        st.builds(
            lambda how, many: {how: many}, st.sampled_from(["all", "any"]), st.lists(parts, min_size=1, max_size=3)
        ),
    ),
    max_leaves=6,
)
_ANIMALS = st.lists(
    st.lists(
        st.tuples(st.integers(-50, 150), st.integers(-50, 150), st.sampled_from([0.9, 0.7, 0.3, None])),
        min_size=3,
        max_size=3,
    ),
    max_size=4,
)


def known_to_hold(when: Any, animal: Any) -> bool | None:
    """The same in plain words, for one animal of x, y, score; none where it cannot be known."""
    [(word, inside)] = when.items()
    if word == "not":
        part = known_to_hold(inside, animal)
        return None if part is None else not part
    if word in ("all", "any"):
        parts = [known_to_hold(part, animal) for part in inside]
        decides = word == "any"
        return decides if decides in parts else None if None in parts else not decides
    names = inside.get("keypoints", [inside.get("keypoint")])
    sure = [(x, y) for x, y, score in animal if score is not None and score >= 0.6]
    points = []
    for name in names:
        if name == "centre":
            points.append((sum(x for x, _ in sure) / len(sure), sum(y for _, y in sure) / len(sure)) if sure else None)
        else:
            x, y, score = animal[NAMES.index(name)]
            points.append((x, y) if score is not None and score >= 0.6 else None)
    if word == "score":
        score = animal[NAMES.index(names[0])][2]
        return None if score is None else float(np.float32(score)) >= inside["above"]
    if None in points:
        return None
    if word == "in_polygon":
        [(x, y)] = points
        return 0 <= x <= 100 and 0 <= y <= 100
    if word == "distance":
        return math.dist(*points) <= inside["below"]
    one, middle, other = (complex(*point) for point in points)
    if one == middle or other == middle:
        return None
    turned = (other - middle) / (one - middle)
    return abs(math.degrees(math.atan2(turned.imag, turned.real))) >= inside["above"]


@settings(max_examples=150, deadline=None)
@given(_TREES, _ANIMALS)
def test_any_rule_says_what_its_words_say(when: Any, animals: Any) -> None:
    xy = [[(math.nan, math.nan) if score is None else (x, y) for x, y, score in animal] for animal in animals]
    scores = np.array([[math.nan if score is None else score for *_, score in animal] for animal in animals])
    found = found_of(xy, scores.reshape(-1, 3))
    assert triggers(when).judge(frame_at(0), found)["go"] == any(known_to_hold(when, animal) for animal in animals)


# -- hysteresis and times


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=60))
def test_hysteresis_switches_only_beyond_its_own_limit(lengths: list[float]) -> None:
    rules = triggers({"distance": {"keypoints": ["snout", "neck"], "above": 60, "leave": 40}}, spec=MOUSE)
    on = False
    for i, length in enumerate(lengths):
        on = length >= (40 if on else 60)
        found = found_of([[(0, 0), (length, 0), (0, 0)]], ids=[-1])  # the one animal of such a model needs no number
        assert rules.judge(frame_at(i / 100, number=i), found)["go"] == on


def test_noise_within_the_limits_does_not_chatter() -> None:
    rules = triggers({"distance": {"keypoints": ["snout", "neck"], "below": 50, "leave": 60}})
    noise = np.random.default_rng(0).uniform(-4.9, 4.9, 300)
    on = [
        rules.judge(frame_at(i / 100, number=i), found_of([[(0, 0), (54 + e - 10 * (i == 0), 0), (0, 0)]]))["go"]
        for i, e in enumerate(noise)
    ]
    assert all(on) and rules.changed == 1


def test_each_animal_has_its_own_hysteresis() -> None:
    rules = triggers({"in_polygon": {"keypoint": "snout", "polygon": SQUARE, "leave_margin": 20}})
    assert rules.judge(frame_at(0), found_of([at(50, 50), at(110, 50)], ids=[1, 2]))["go"]
    assert not rules.judge(frame_at(0.01), found_of([at(500, 50), at(110, 50)], ids=[1, 2]))["go"]


def test_one_animal_must_hold_for_the_whole_time() -> None:
    rules = triggers(IN, for_seconds=0.025)
    inside, outside = at(50, 50), at(500, 50)
    shown = [
        rules.judge(frame_at(i / 100, number=i), found_of([inside if i % 2 else outside, outside if i % 2 else inside]))
        for i in range(10)
    ]
    assert not any(state["go"] for state in shown)
    assert [
        rules.judge(frame_at(0.1 + i / 100, number=10 + i), found_of([inside, outside]))["go"] for i in range(4)
    ] == [False, False, True, True]  # the first was inside already 10 ms ago


def test_a_longest_time_ends_it_until_it_was_left() -> None:
    rules = triggers(IN, longest_seconds=0.02)
    assert states(rules, [50, 50, 50, 50, 50, 500, 50]) == [True, True, False, False, False, False, True]


_STEPS = st.lists(
    st.tuples(st.integers(1, 30), st.sets(st.integers(-1, 2), max_size=3)), min_size=1, max_size=80
)  # milliseconds since the last frame, who holds


@settings(max_examples=150, deadline=None)
@given(_STEPS, st.integers(0, 60), st.integers(0, 100), st.none() | st.integers(1, 60))
def test_times_are_kept_whatever_comes(
    steps: list[tuple[int, set[int]]], least: int, rest: int, most: int | None
) -> None:
    timing = Timing(least, rest, most)  # whole milliseconds, so that nothing is rounded
    now, was, begun, ended, left = 0, False, 0, -(10**9), True
    held: dict[int, int] = {}
    for step, holding in steps:
        now += step
        held = {n: held.get(n, now) if n >= 0 else now for n in holding}
        on = timing.update(now, holding)
        ready = any(now - since >= least for since in held.values())
        if on and not was:
            assert ready and now - ended >= rest and left
            begun = now
        if was and not on:
            assert not ready or (most is not None and now - begun >= most)
            ended = now
            left = not holding or not (most is not None and now - begun >= most)
        if on and was:
            assert ready and (most is None or now - begun < most)
        left = left or not holding
        if not on and not was and ready and left:
            assert now - ended < rest
        was = on


# -- cameras, safe state, log


def test_a_gap_switches_off_and_forgets() -> None:
    rules = triggers(IN, for_seconds=0.01)
    assert states(rules, [50, 50]) == [False, True]
    assert not rules.judge(frame_at(2.0, number=9), found_of([at(50, 50)]))["go"]
    assert [c.cause for c in rules.changes] == ["rule", "stale"]


def test_a_silent_camera_switches_its_rules_off_while_another_goes_on() -> None:
    rules = triggers(IN, camera="top", cameras=("top", "side"))
    assert rules.judge(frame_at(0.0), found_of([at(50, 50)]))["go"]
    assert rules.judge(frame_at(0.1, camera="side"), found_of([at(500, 50)]))["go"]
    assert not rules.judge(frame_at(0.6, camera="side"), found_of([at(50, 50)]))["go"]


def test_the_safe_state_and_the_log(tmp_path: Path) -> None:
    rules = triggers(IN, refractory_seconds=0.05)
    assert states(rules, [500, 50]) == [False, True]
    assert rules.safe() == {"go": False} and rules.safe() == {"go": False}
    assert not rules.judge(frame_at(0.02, number=2), found_of([at(50, 50)]))["go"]  # it rests
    assert rules.judge(frame_at(0.07, number=7), found_of([at(50, 50)]))["go"]
    log = rules.changes
    assert [(c.rule, c.on, c.cause, c.camera, c.frame, c.exposed) for c in log] == [
        ("go", True, "rule", "top", 1, 0.01),
        ("go", False, "safe", "top", 1, 0.01),
        ("go", True, "rule", "top", 7, 0.07),
    ]
    assert rules.changed == 3 and log[0].judged <= log[1].judged <= log[2].judged
    write_changes(tmp_path / "triggers.csv", log)
    table = (tmp_path / "triggers.csv").read_text().splitlines()
    assert table[0] == "rule,on,cause,camera,frame,exposed,judged"
    assert table[1].startswith("go,1,rule,top,1,0.01,") and table[2].startswith("go,0,safe,top,1,0.01,")
    with pytest.raises(ResultError, match="cannot be written"):
        write_changes(tmp_path, log)


def test_what_was_returned_stays() -> None:
    rules = triggers(IN)
    before = rules.judge(frame_at(0), found_of([at(50, 50)]))
    rules.judge(frame_at(0.01), found_of([at(500, 50)]))
    assert before == {"go": True}


# -- the file


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "rules.yaml.rules: missing"),
        ({"rules": {}}, "there are no rules"),
        ({"rules": {"go": {}}}, "rules.yaml.rules.go.when: missing"),
        ({"rules": {"go": {"when": {"in_poligon": {}}}}}, "go.when.in_poligon: unknown key; did you mean in_polygon"),
        ({"rules": {"go": {"when": IN, "refractory": 2}}}, "go.refractory: unknown key; did you mean refractory_"),
        ({"rules": {"go": {"when": {**IN, "not": IN}}}}, "expected one of in_polygon, speed"),
        ({"rules": {"go": {"when": {"all": []}}}}, "expected a list"),
        ({"rules": {"go": {"when": {"score": {"keypoint": "snuot", "above": 0.5}}}}}, "did you mean snout"),
        ({"rules": {"go": {"when": {"score": {"keypoint": "snout"}}}}}, "give one of above and below"),
        (
            {"rules": {"go": {"when": {"score": {"keypoint": "snout", "above": 0.5, "leave": 0.7}}}}},
            "leave is 0.7 and above is 0.5; leave must be at most that",
        ),
        ({"rules": {"go": {"when": {"speed": {"keypoint": "snout", "above": "fast"}}}}}, "expected float"),
        ({"rules": {"go": {"when": {"in_polygon": {"keypoint": "snout", "polygon": [[0, 0]]}}}}}, "three or more"),
        ({"rules": {"go": {"when": IN, "for_seconds": -1}}}, "for_seconds is -1; give 0 or more"),
        ({"rules": {"go now": {"when": IN}}}, "use letters, digits"),
        ({"rules": {"go": {"when": IN, "camera": "tpo"}}}, "no camera tpo; did you mean top"),
        ({"rules": {"go": {"when": IN, "poses": "predicted"}}}, "nothing predicts in this run"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(content: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Triggers(parse_rules(content, NAMES, where="rules.yaml"), MICE, ["top"])
    assert sentence in str(raised.value) and "\n" not in str(raised.value)


def test_several_cameras_must_be_told_apart() -> None:
    with pytest.raises(ConfigError, match="say which of top, side"):
        triggers(IN, cameras=("top", "side"))


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  go:\n    when:\n      score: {keypoint: snout, above: 0.8}\n    refractory_seconds: 1\n")
    rules = read_triggers(path, MOUSE, ["top"])
    assert rules.names == ("go",)
    assert rules.judge(frame_at(0), found_of([at(0, 0)]))["go"]
    path.write_text("rules:\n  go: [\n")
    with pytest.raises(ConfigError, match=r"rules.yaml: is no YAML in line \d"):
        read_triggers(path, MOUSE, ["top"])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_triggers(tmp_path / "none.yaml", MOUSE, ["top"])


def test_ten_rules_and_five_animals_cost_little() -> None:
    """The target is 0.1 ms; the best of some runs is compared with ten times that, so that a busy machine passes."""
    rules: dict[str, Any] = {}
    for i in range(2):
        rules[f"in{i}"] = {"when": {"in_polygon": {"keypoint": "snout", "polygon": SQUARE, "leave_margin": 3}}}
        rules[f"fast{i}"] = {"when": {"speed": {"keypoint": "centre", "above": 100}}, "refractory_seconds": 1}
        rules[f"near{i}"] = {"when": {"distance": {"keypoints": ["snout", "tail"], "below": 40 + i}}}
        rules[f"bent{i}"] = {"when": {"angle": {"keypoints": ["snout", "neck", "tail"], "below": 90}}}
        rules[f"both{i}"] = {"when": {"all": [IN, {"not": {"score": {"keypoint": "tail", "below": 0.5}}}]}}
    judged = Triggers(parse_rules({"rules": rules}, NAMES, where="x"), MICE, ["top"])
    founds = [found_of([at(20.0 * a + i, 50) for a in range(5)]) for i in range(20)]
    frames = [frame_at(i / 100, number=i) for i in range(400)]
    best = math.inf
    for begin in range(0, 400, 20):
        started = time.perf_counter()
        for i in range(begin, begin + 20):
            judged.judge(frames[i], founds[i % 20])
        best = min(best, (time.perf_counter() - started) / 20)
    print(f"10 rules x 5 animals: {1e6 * best:.0f} us")
    assert best < 1e-3
