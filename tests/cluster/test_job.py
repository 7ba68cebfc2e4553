"""The course of a job, with workers of this process in place of Ray's: who gets what, and what becomes of the dead."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cluster_herd import write_herd_bundle, write_herd_video

from rigpose.analyzers.run_options import RunOptions
from rigpose.cluster import job as job_file
from rigpose.cluster import segments
from rigpose.cluster.devices import ClusterDevice
from rigpose.cluster.job import MOST_TRIES, Job
from rigpose.cluster.worker import ModelToLoad, Refusal, Worker, WorkerFacts
from rigpose.cluster.workers import MOST_DEATHS, Workers
from rigpose.errors import BackendError
from rigpose.load import load
from rigpose.progress import silent
from rigpose.videos.analysis import analyze_videos
from rigpose.videos.outcome import AnalysisOptions, VideoFailure, VideoResult

pytest.importorskip("ray")
LENGTH, FRAMES = 40, 203


@dataclass(eq=False)
class _Call:
    """A reference: what is asked of a worker, and answered when somebody wants to know."""

    actor: _Actor
    method: str
    arguments: tuple[Any, ...]


@dataclass(eq=False)
class _Actor:
    """A worker on a node that may die of what it is asked for."""

    node: str
    worker: Worker
    dead: bool = False

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)
        actor = self

        class Remote:
            def options(self, **_how: Any) -> Remote:
                return self

            def remote(self, *arguments: Any) -> _Call:
                return _Call(actor, method, arguments)

        return Remote()


@dataclass
class Nodes:
    """As much of Ray as a job needs.

    Attributes:
        hardware: Of each node, by name; one that is taken out is down.
        dies_of: Whether a worker that is asked for this dies.
        worked: Node and video of all segments that were answered.
        started: How many workers each node has had.
        order: In which answers come.
    """

    hardware: dict[str, str]
    dies_of: Callable[[_Call], bool] = lambda _call: False
    worked: list[tuple[str, Path]] = field(default_factory=list)
    started: Counter[str] = field(default_factory=Counter)
    order: Random = field(default_factory=lambda: Random(3))

    def nodes(self) -> list[dict[str, Any]]:
        """See ``ray.nodes``."""
        return [
            # Ray's numbers of nodes are 28 bytes in hexadecimal digits.
            {
                "NodeID": name.encode().ljust(28).hex(),
                "NodeManagerHostname": name,
                "Alive": True,
                "Resources": {"CPU": 1.0},
            }
            for name in self.hardware
        ]

    def remote(self, **_how: Any) -> Callable[[type], Any]:
        """See ``ray.remote``."""
        nodes = self

        class Making:
            def options(self, *, scheduling_strategy: Any, **_how: Any) -> Making:
                self.node = bytes.fromhex(scheduling_strategy.node_id).decode().strip()
                return self

            def remote(self, model: ModelToLoad) -> _Actor:
                nodes.started[self.node] += 1
                return _Actor(self.node, Worker(model))

        return lambda _worker: Making()

    def wait(self, references: list[_Call], *, num_returns: int, timeout: float | None) -> tuple[list[_Call], None]:
        """See ``ray.wait``: everything is there at once, in any order."""
        del timeout
        return self.order.sample(references, num_returns), None

    def get(self, call: _Call) -> Any:
        """See ``ray.get``."""
        from ray.exceptions import ActorDiedError

        actor = call.actor
        actor.dead = actor.dead or self.dies_of(call)
        if actor.dead:
            raise ActorDiedError
        outcome = getattr(actor.worker, call.method)(*call.arguments)
        if isinstance(outcome, WorkerFacts):
            return replace(outcome, hardware=self.hardware[actor.node])
        if call.method == "analyze":
            self.worked.append((actor.node, call.arguments[0]))
        return outcome

    def kill(self, actor: _Actor) -> None:
        """See ``ray.kill``."""
        actor.dead = True


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", LENGTH)
    monkeypatch.setattr(job_file, "SECONDS_BETWEEN_LOOKS", 0.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_herd_bundle(tmp_path_factory.mktemp("herd") / "herd.bundle").path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    return [write_herd_video(folder / f"{number}.mp4", FRAMES, seed=number) for number in range(4)]


@pytest.fixture(scope="module")
def plain(bundle: Path, videos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    analyzer = load(bundle, device="cpu", threads=1)
    analyze_videos(analyzer, videos, identity=analyzer.identity(), options=AnalysisOptions(destination=folder))
    return folder


@dataclass
class Course:
    """What a job did."""

    results: list[VideoResult]
    failures: list[VideoFailure]
    warnings: list[str]
    done: Counter[str]


def _run(
    nodes: Nodes,
    bundle: Path,
    videos: Iterable[Path],
    destination: Path,
    fits: Callable[[WorkerFacts], str] = lambda _facts: "",
) -> Course:
    course = Course([], [], [], Counter())
    analyzer = load(bundle, device="cpu", threads=1)

    def to_load(device: ClusterDevice) -> ModelToLoad:
        return ModelToLoad(
            str(bundle), device.word, 1, "onnxruntime", None, None, RunOptions(), analyzer.bundle.checksum, ()
        )

    workers = Workers(nodes, "cpu", to_load)
    job = Job(
        workers,
        identity=analyzer.identity(),
        options=AnalysisOptions(destination=destination),
        each=lambda one: course.failures.append(one) if isinstance(one, VideoFailure) else course.results.append(one),
        warn=course.warnings.append,
        fits=fits,
    )
    with silent("", None, "") as advance:
        job.start(advance)
        job.run(videos, advance)
    course.done = workers.done
    return course


def _check_same(found: Path, plain: Path, names: Iterable[str]) -> None:
    for name in names:
        files = [path for path in plain.glob(f"{name}DLC_herd*") if not path.name.endswith("_meta.pickle")]
        assert len(files) > 3
        for path in files:
            assert (found / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_video_stays_with_one_kind_of_hardware(bundle: Path, videos: list[Path], plain: Path, tmp_path: Path) -> None:
    nodes = Nodes({"a": "old", "b": "new", "c": "new"})
    course = _run(nodes, bundle, videos, tmp_path)
    assert len(course.results) == 4 and not course.failures
    kinds = defaultdict(set)
    for node, video in nodes.worked:
        kinds[video].add(nodes.hardware[node])
    assert all(len(kind) == 1 for kind in kinds.values())
    assert set().union(*kinds.values()) == {"old", "new"}
    assert set(course.done) == {"a", "b", "c"} and course.done.total() == 4 * FRAMES
    _check_same(tmp_path, plain, "0123")


def test_a_video_that_ends_workers_is_left_and_the_others_go_on(
    bundle: Path, videos: list[Path], plain: Path, tmp_path: Path
) -> None:
    def dies_of(call: _Call) -> bool:
        return call.method == "analyze" and call.arguments[0] == videos[1] and call.arguments[1].start == 2 * LENGTH

    nodes = Nodes({"a": "new", "b": "new"}, dies_of)
    course = _run(nodes, bundle, videos, tmp_path)
    ((failed, sentence),) = course.failures
    assert failed == videos[1] and f"{MOST_TRIES} workers died with its frames from {2 * LENGTH} on" in sentence
    assert nodes.started.total() == 2 + MOST_TRIES and not course.warnings
    assert sorted(result.video for result in course.results) == [videos[0], videos[2], videos[3]]
    _check_same(tmp_path, plain, "023")


def test_tables_that_end_workers_end_their_video(bundle: Path, videos: list[Path], tmp_path: Path) -> None:
    nodes = Nodes({"a": "new"}, lambda call: call.method == "write" and call.arguments[0] == videos[0])
    course = _run(nodes, bundle, videos[:2], tmp_path)
    assert [(failure.video, "workers died with its tables" in failure.sentence) for failure in course.failures] == [
        (videos[0], True)
    ]
    assert [result.video for result in course.results] == [videos[1]]


def test_a_device_whose_workers_keep_dying_is_left_out(
    bundle: Path, videos: list[Path], plain: Path, tmp_path: Path
) -> None:
    nodes = Nodes({"a": "new", "b": "new"}, lambda call: call.method == "analyze" and call.actor.node == "a")
    course = _run(nodes, bundle, videos, tmp_path)
    # Every segment has a chance elsewhere before the device is given up.
    assert nodes.started["a"] == MOST_DEATHS and nodes.started["b"] == 1
    assert course.warnings == ["cluster, a: its workers keep dying; the job goes on without it."]
    assert not course.failures and set(course.done) == {"b"}
    _check_same(tmp_path, plain, "0123")


def test_a_job_without_a_machine_ends_and_says_so(
    bundle: Path, videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_file, "SECONDS_WITHOUT_WORKERS", 0.0)
    nodes = Nodes({"a": "new"})

    def goes_down(call: _Call) -> bool:
        nodes.hardware.pop("a", None)
        return call.method == "analyze"

    nodes.dies_of = lambda call: call.method == "analyze" and goes_down(call)
    with pytest.raises(BackendError, match="no machine has been able to work for 0 s; the frames so far are kept"):
        _run(nodes, bundle, videos, tmp_path)


def test_a_machine_that_comes_later_works_too_if_it_is_alike(
    bundle: Path, videos: list[Path], plain: Path, tmp_path: Path
) -> None:
    nodes = Nodes({"a": "new"})
    seen: list[str] = []

    def fits(facts: WorkerFacts) -> str:
        seen.append(facts.hardware)
        return "NumPy 1 in place of 2" if facts.hardware == "strange" else ""

    def joined(call: _Call) -> bool:
        if call.method == "analyze":
            nodes.hardware |= {"b": "new", "c": "strange"}
        return False

    nodes.dies_of = joined
    course = _run(nodes, bundle, videos, tmp_path, fits)
    assert sorted(seen) == ["new", "new", "strange"] and set(course.done) == {"a", "b"}
    assert course.warnings == [
        "cluster, c: NumPy 1 in place of 2; install the same there as here; the job goes on without it."
    ]
    _check_same(tmp_path, plain, "0123")


def test_a_fault_that_nobody_foresaw_ends_one_video(
    bundle: Path, videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.exceptions import RayTaskError

    nodes = Nodes({"a": "new"})
    get = nodes.get

    def fails(call: _Call) -> Any:
        if call.method == "analyze" and call.arguments[0] == videos[2]:
            raise RayTaskError("analyze", "Traceback ...", ZeroDivisionError("in nobody's code"))
        return get(call)

    monkeypatch.setattr(nodes, "get", fails)
    course = _run(nodes, bundle, videos, tmp_path)
    ((failed, sentence),) = course.failures
    assert failed == videos[2] and sentence == f"{videos[2]}: failed on a (in nobody's code)."
    assert len(course.results) == 3


def test_a_machine_that_refuses_at_the_start_is_named(bundle: Path, videos: list[Path], tmp_path: Path) -> None:
    nodes = Nodes({"a": "new", "b": "new"})
    refusing = Worker.open

    def refuses(worker: Worker) -> WorkerFacts | Refusal:
        return Refusal("my.bundle: needs a GPU.") if nodes.started.total() == 2 else refusing(worker)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Worker, "open", refuses)
        with pytest.raises(BackendError, match=r"^cluster, [ab]: my\.bundle: needs a GPU\.$"):
            _run(nodes, bundle, videos, tmp_path)
