"""The back-test: its sums against a plain loop, its choices on motions of known truth, its file and its command."""

import argparse
from dataclasses import replace

import numpy as np
import pytest
from live_motions import NAMES, recording, truth

from rigpose.commands.live_fit import configure, fit, run
from rigpose.errors import ConfigError, ResultError
from rigpose.files.results import ResultFiles, video_columns, write_video_tables
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.faults import LiveError
from rigpose.live.finding.pose_finder import Found
from rigpose.live.live_pose import LivePose, Stamps
from rigpose.live.prediction.back_test import CANDIDATES, back_test
from rigpose.live.prediction.choosing import LEADS, fit_motion
from rigpose.live.prediction.fitted import MotionFit
from rigpose.live.prediction.measurement_noise import measurement_noise
from rigpose.live.prediction.motion_filter import Limits, MotionFilter
from rigpose.live.prediction.pose_history import PoseHistory, read_history
from rigpose.live.prediction.predictor import Predictor
from rigpose.live.recording.recorder import Recorder
from rigpose.models.model_spec import ModelSpec
from rigpose.poses import Poses

MINUTE = np.arange(0, 60, 0.01)


@pytest.fixture(scope="module")
def fitted():
    return fit_motion(recording(MINUTE, seed=0))


def errors(motion, *, lead, seconds=10.0, seed=99):
    """Of predicting and of holding [px], root mean square per keypoint against the truth, in frames never seen."""
    times = 1000 + np.arange(0, seconds, 0.01)
    poses = recording(times, seed=seed)
    predictor = Predictor(motion, NAMES, lead=lead)
    predicted = np.array([predict(predictor, poses, i).xy[0] for i in range(len(times))])
    there = truth(times + lead)
    # The first half second is the filters' own.
    return [np.sqrt(np.square(xy - there)[50:].sum(axis=-1).mean(axis=0)) for xy in (predicted, poses.xy[:, 0])]


def predict(predictor, poses, i):
    frame = CapturedFrame("top", i, np.zeros((2, 2, 3), np.uint8), poses.times[i], poses.times[i])
    return predictor.predict(frame, Found(Poses(poses.xy[i], poses.score[i]), np.array([7]), "whole", lost=False))


def gain(each):
    assert each.model_px is not None and each.hold_px
    return each.model_px / each.hold_px


@pytest.mark.parametrize("lead", LEADS)
def test_after_a_fit_prediction_is_never_worse_than_holding_and_better_where_it_can_be(fitted, lead):
    ahead, hold = errors(fitted, lead=lead)
    assert (ahead <= 1.1 * hold).all(), dict(zip(NAMES, ahead / hold, strict=True))
    # The body goes 8 px in 20 ms and 20 px in 50 ms; jitter of 1 px leaves a filter with about 2.
    if lead in (0.02, 0.05):
        assert ahead[NAMES.index("body")] <= 0.5 * hold[NAMES.index("body")]
    if lead == 0.01:
        assert ahead[NAMES.index("paw")] <= 0.7 * hold[NAMES.index("paw")]


@pytest.mark.parametrize("seed", range(5))
def test_refuses_a_still_keypoint(seed):
    still = fit_motion(recording(MINUTE[:4000], seed=seed)).keypoints[0]
    assert not any(each.predicts for each in still.leads)
    # Smoothing gains on it, and that is said, but is no prediction.
    assert all(gain(each) < 0.9 for each in still.leads[:3])
    assert all(each.why for each in still.leads)


def test_refuses_what_nobody_can_foresee():
    rng = np.random.default_rng(5)
    xy = np.cumsum(rng.normal(scale=4.0, size=(6000, 1, 2, 2)), axis=0)
    walks = PoseHistory("walks", ("a", "b"), MINUTE, xy, np.ones((6000, 1, 2)))
    assert not any(each.predicts for keypoint in fit_motion(walks).keypoints for each in keypoint.leads)


def test_refuses_what_was_hardly_seen():
    poses = recording(MINUTE, seed=1)
    score = poses.score.copy()
    score[400:, :, 1] = 0.1
    body = fit_motion(replace(poses, score=score)).keypoints[1]
    assert {(each.predicts, each.hold_px, each.cases, each.why) for each in body.leads} == {
        (False, None, 0, "seen too rarely to judge")
    }


def test_jumps_of_the_network_do_not_spoil_the_choice():
    poses, rng = recording(MINUTE, seed=2), np.random.default_rng(3)
    xy = poses.xy.copy()
    xy[rng.random(xy.shape[:3]) < 0.02] += 150.0
    motion = fit_motion(replace(poses, xy=xy))
    ahead, hold = errors(motion, lead=0.05)
    assert motion.keypoints[0].noise == pytest.approx(1, rel=0.15)
    assert ahead[1] <= 0.5 * hold[1] and ahead[0] <= 1.1 * hold[0]


@pytest.mark.parametrize("every", [1, 2])
def test_sums_are_those_of_a_plain_loop(every):
    rng = np.random.default_rng(8)
    times = np.cumsum(rng.choice([0.01, 0.02, 0.03, 0.2], p=[0.5, 0.3, 0.15, 0.05], size=80))
    animals = np.stack([truth(times), truth(times + 3)], axis=1)[:, :, 1:]
    xy = animals + rng.normal(size=animals.shape)
    score = np.where(rng.random(xy.shape[:3]) < 0.2, 0.1, 0.9)
    xy[rng.random(xy.shape[:3]) < 0.1] = np.nan
    poses = PoseHistory("both", NAMES[1:], times, xy, score)
    leads, noise, limits = np.array([0.01, 0.045]), np.array([1.0, 1.3]), Limits(coast=0.04)
    outcome = back_test(poses, leads=leads, limits=limits, noise=noise, every=every)

    wanted = {name: np.zeros((2, len(CANDIDATES), 2)) for name in ("ahead", "now", "hold", "cases")}
    places = np.where((score >= 0.6)[..., None], xy, np.nan)
    for n, k in np.ndindex(2, 2):
        filters = [
            MotionFilter(1, limits=limits, noise=noise[k : k + 1], density=outcome.density[:, c, k : k + 1])
            for c in range(len(CANDIDATES))
        ]
        for j, *summed in one_keypoint(filters, times, places[:, n, k], leads, every, limits.coast):
            for name, values in zip(wanted, summed, strict=True):
                wanted[name][j, :, k] += values
    assert wanted["cases"].min() > 10
    for name, sums in wanted.items():
        got = getattr(outcome, name).sum(axis=0)
        np.testing.assert_allclose(got, sums if got.ndim == 3 else sums[:, 0], rtol=1e-8)


def one_keypoint(filters, times, places, leads, every, coast):
    """Per frame and lead that can be judged: which lead, squared distances ahead, now and held, and 1."""
    before, last = times[0], None
    for i in range(0, len(times), every):
        last = i if np.isfinite(places[i, 0]) else last
        for each in filters:
            each.advance(times[i] - before)
            each.correct(places[None, None, i])
        before = times[i]
        for j, lead in enumerate(leads):
            there = measured_at(times, places, times[i] + lead)
            ahead, now = ([each.ahead(far)[0][0, 0] for each in filters] for far in (lead, 0.0))
            if last is not None and times[i] - times[last] <= coast and not np.isnan(np.sum(ahead) + there.sum()):
                yield j, *(np.square(each - there).sum(axis=-1) for each in (ahead, now, places[last])), 1


def measured_at(times, places, at):
    """Where a keypoint was: in the frame of that moment, or between the two around it if they are close."""
    exact = np.flatnonzero(np.abs(times - at) < 1e-7)
    if len(exact):
        return places[exact[0]]
    right = np.searchsorted(times, at)
    if right == len(times) or times[right] - times[right - 1] > 3 * np.median(np.diff(times)):
        return np.full(2, np.nan)
    around = slice(right - 1, right + 1)
    return np.array([np.interp(at, times[around], places[around, d]) for d in (0, 1)])


def test_every_nth_frame_is_harder_and_is_judged_as_such(fitted):
    sparse = fit_motion(recording(MINUTE, seed=0), every=4)
    assert sparse.interval == pytest.approx(0.04) and sparse.frames == 1500
    body, dense = sparse.keypoints[1].leads[3], fitted.keypoints[1].leads[3]
    assert body.predicts and gain(dense) < gain(body) < 0.5


@pytest.mark.parametrize("jitter", [0.3, 1.0, 3.0])
def test_jitter_is_told_from_motion_at_irregular_times(jitter):
    times = np.cumsum(np.random.default_rng(1).choice([0.008, 0.01, 0.012], size=6000))
    noise = measurement_noise(times, recording(times, seed=2, jitter=jitter).xy)
    # The paw's own motion leaves 0.1 px in x and 0.5 px in y beside the cubic, in a median of both.
    np.testing.assert_allclose(noise[:2], jitter, rtol=0.06)
    assert jitter * 0.94 < noise[2] < jitter + 0.3


def test_file_comes_back_and_refuses_what_does_not_fit(fitted, tmp_path):
    path = tmp_path / "fit.yaml"
    fitted.write(path)
    assert MotionFit.read(path) == fitted
    text = path.read_text(encoding="utf-8")
    for old, new, said in [
        ("rigpose_motion: 1", "rigpose_motion: 2", "format 2"),
        ("rigpose_motion: 1", "other: 1", "no fit of a recording"),
        ("interval:", "intervall:", "did you mean interval"),
        ("name: body", "name: still", "each once"),
        ("lead: 0.02", "lead: 0.025", "other leads"),
        ("gate: 5.0", "gate: .nan", "limits"),
        ("leads:", "leads: [", "cannot be read"),
    ]:
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        with pytest.raises(ConfigError, match=said):
            MotionFit.read(path)
    with pytest.raises(ConfigError, match="live fit"):
        MotionFit.read(tmp_path / "absent.yaml")


def test_bundle_with_other_keypoints_is_refused_by_name(fitted):
    with pytest.raises(LiveError, match="only the bundle has tail and only the fit has still"):
        fitted.of_bundle(("body", "paw", "tail"))
    assert [each.name for each in fitted.of_bundle(("paw", "still", "body"))] == ["paw", "still", "body"]


@pytest.mark.parametrize(("frames", "said"), [(1, "no two frames"), (4, "too few")])
def test_recording_that_is_too_short_is_refused(frames, said):
    with pytest.raises(ResultError, match=said):
        fit_motion(recording(MINUTE[:frames], seed=0))


def test_times_that_do_not_rise_are_refused():
    with pytest.raises(ResultError, match="do not rise"):
        recording(np.array([0.0, 0.01, 0.01]), seed=0)


def test_command_fits_a_table(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    poses = recording(MINUTE[:3000], seed=0)
    rows = np.concatenate([poses.xy, poses.score[..., None]], axis=-1)
    files = ResultFiles(tmp_path, "mouse")
    write_video_tables(files, rows, columns=video_columns("net", NAMES), save_csv=False)
    assert fit(files.h5, fps=100, leads=[20, 50]) == 0
    made = MotionFit.read(tmp_path / "mouse_motion.yaml")
    assert made.names == NAMES and made.leads == (0.02, 0.05) and made.seconds == pytest.approx(29.99)
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if "body" in line)
    assert "50 ms" in printed and line.count("acceleration") + line.count("velocity") == 2
    assert f"{made.keypoints[1].leads[1].hold_px:.1f} > {made.keypoints[1].leads[1].model_px:.1f}" in line
    with pytest.raises(ResultError, match="--fps"):
        read_history(files.h5)


def test_command_fits_a_recording_of_a_live_run(tmp_path, capsys):
    folder, poses = tmp_path / "run.1", recording(MINUTE[:2500], seed=0)
    spec = ModelSpec("single_animal", "resnet_50", NAMES)
    recorder = Recorder(folder, "top", spec=spec, scorer="net", keep="poses")
    recorder.open()
    for i, t in enumerate(poses.times):
        # Every third frame is taken, as by a network of 25 ms; one estimate of an exposure goes back.
        exposed = t - 0.05 if i == 1500 else t
        frame = CapturedFrame("top", i, np.zeros((4, 4, 3), np.uint8), t + 0.004, exposed)
        recorder.offer(frame)
        if i % 3 == 0:
            xy, score = poses.xy[i].astype(np.float32), poses.score[i].astype(np.float32)
            found = Found(Poses(xy, score), np.array([0]), "whole", lost=False)
            recorder.send(LivePose(frame, found, Stamps(exposed, t, t, t + 0.02, t + 0.02, 0.02)))
    recorder.close()
    history = read_history(folder)
    kept = [i for i in range(0, 2500, 3) if i != 1500]
    assert history.keypoints == NAMES and history.times.tolist() == poses.times[kept].tolist()
    np.testing.assert_allclose(history.xy, poses.xy[kept], atol=1e-4)
    parser = argparse.ArgumentParser()
    configure(parser)
    assert run(parser.parse_args([str(folder), "--leads", "50", "10", "--camera", "top"])) == 0
    assert str(tmp_path / "run.1_motion.yaml") in capsys.readouterr().out
    made = MotionFit.read(tmp_path / "run.1_motion.yaml")
    assert made.interval == pytest.approx(0.03)
    assert made.leads == (0.01, 0.05)
    body = made.keypoints[1].leads[1]
    assert body.predicts and gain(body) < 0.5 and not made.keypoints[0].leads[1].predicts
    with pytest.raises(LiveError, match="top"):
        read_history(folder, camera="side")
