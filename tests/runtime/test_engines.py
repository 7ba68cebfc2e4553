"""Where engines lie, and which of them fit a machine."""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from drawn_bundle import write_bundle

from rigpose.bundles.bundle import Bundle, GraphSpec, record_files
from rigpose.bundles.engines import (
    ENGINES,
    FORMAT,
    PLAN,
    RECORD,
    BuildOptions,
    Engine,
    EngineRecord,
    Gpu,
    Machine,
    Profile,
    ShapeRange,
    command,
    engine_folder,
    engines_of,
    fitting_engines,
    remove_outdated,
    timing_cache,
    write_engine,
    write_timing_cache,
)
from rigpose.errors import BackendError, ConfigError

GPU = Gpu("NVIDIA L4", "8.9", "13.0")
HERE = Machine("tensorrt", "11.4.0.106", GPU)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_bundle(tmp_path / "drawn.bundle", crop=32)


def graph_of(bundle: Bundle) -> GraphSpec:
    return bundle.manifest.graph("pose", backend="tensorrt")


def build(
    bundle: Bundle,
    machine: Machine = HERE,
    *,
    options: BuildOptions | None = None,
    batch: int = 4,
    created: str = "2026-01-01T00:00:00+00:00",
) -> Engine:
    """An engine's files, with a plan that says where it comes from."""
    graph = graph_of(bundle)
    options = options or BuildOptions()
    fingerprint = machine.fingerprint(bundle.manifest.files[graph.file].sha256, options)
    shapes = ShapeRange((1, 32, 32, 3), (batch, 32, 32, 3), (batch, 32, 32, 3))
    profiles = (Profile("throughput", {"frames": shapes}),)
    plan = f"{machine} {options} {batch}".encode()
    record = EngineRecord(FORMAT, graph.file, fingerprint, profiles, created, 1.5, len(plan), sha256(plan).hexdigest())
    return write_engine(engine_folder(bundle, graph, fingerprint, profiles), plan, record)


def test_what_was_written_is_found_and_read(bundle: Bundle) -> None:
    built = build(bundle)
    (found,) = fitting_engines(bundle, graph_of(bundle), HERE)
    assert found == built
    assert found.plan() == f"{HERE} {BuildOptions()} 4".encode()
    assert {path.name for path in found.folder.iterdir()} == {PLAN, RECORD}
    # Built again with the same choices, it takes the same place.
    assert build(bundle).folder == built.folder


def test_a_bundle_with_engines_is_still_the_bundle_that_was_exported(bundle: Bundle) -> None:
    build(bundle)
    write_timing_cache(timing_cache(bundle, HERE), b"times")
    opened = Bundle.open(bundle.path)
    assert opened.manifest == bundle.manifest
    assert not any(name.startswith(ENGINES) for name in opened.manifest.files)
    assert any(name.startswith(ENGINES) for name in record_files(bundle.path))  # or the line above says nothing


OTHERS = {
    "it was built by tensorrt 11.4.0.106 and not with --version-compatible, and here is tensorrt 11.4.1.0": replace(
        HERE, version="11.4.1.0"
    ),
    "it was built by tensorrt 11.4.0.106 and here is tensorrt_rtx 1.7.1.116": replace(
        HERE, library="tensorrt_rtx", version="1.7.1.116"
    ),
    "it was built for NVIDIA L4 (compute capability 8.9) and this is NVIDIA H200 (9.0)": replace(
        HERE, gpu=Gpu("NVIDIA H200", "9.0", "13.0")
    ),
    "it was built under a driver for CUDA 13.0 and this one is for 13.2": replace(
        HERE, gpu=replace(GPU, driver="13.2")
    ),
}


@pytest.mark.parametrize("reason", OTHERS)
def test_an_engine_of_another_machine_is_refused_with_the_reason(bundle: Bundle, reason: str) -> None:
    build(bundle)
    with pytest.raises(BackendError) as refused:
        fitting_engines(bundle, graph_of(bundle), OTHERS[reason])
    assert str(refused.value) == (
        f"{bundle.path}: the TensorRT engine of pose.onnx does not fit: {reason}; build one with: rigpose engine "
        f"{bundle.path} --precision fp32."
    )


def test_another_system_and_another_graph_are_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = build(bundle)
    sums = engine.record.fingerprint.graph_sha256
    assert not HERE.misfit(engine.record.fingerprint, sums)
    assert "another graph" in HERE.misfit(engine.record.fingerprint, sums[::-1])
    monkeypatch.setattr("platform.system", lambda: "Windows")
    assert "this is Windows" in HERE.misfit(engine.record.fingerprint, sums)


@pytest.mark.parametrize(
    ("library", "version", "runs"),
    [
        ("tensorrt", "11.4.0.106", True),
        ("tensorrt", "11.10.0.1", True),
        ("tensorrt", "12.0", True),
        ("tensorrt", "11.3.9.9", False),
        ("tensorrt_lean", "11.4.0.106", True),
        ("tensorrt_lean", "11.5.0.2", True),
        ("tensorrt_lean", "10.16.1.11", False),
        ("tensorrt_rtx", "99.0", False),
    ],
)
def test_a_version_compatible_engine_runs_in_newer_versions_and_the_lean_runtime(
    bundle: Bundle, library: str, version: str, *, runs: bool
) -> None:
    engine = build(bundle, options=BuildOptions(version_compatible=True))
    there = replace(HERE, library=library, version=version)
    assert (there.misfit(engine.record.fingerprint, engine.record.fingerprint.graph_sha256) == "") is runs
    plain = build(bundle)
    lean = replace(HERE, library="tensorrt_lean")
    assert "not with --version-compatible" in lean.misfit(
        plain.record.fingerprint, plain.record.fingerprint.graph_sha256
    )


def test_an_engine_of_tensorrt_for_rtx_belongs_to_no_gpu(bundle: Bundle) -> None:
    built = build(bundle, Machine("tensorrt_rtx", "1.7.1.116", None))
    assert built.record.fingerprint.gpu is None
    for gpu in (GPU, Gpu("NVIDIA RTX 4090", "8.9", "13.2")):
        assert fitting_engines(bundle, graph_of(bundle), Machine("tensorrt_rtx", "1.7.1.116", gpu)) == (built,)


def test_of_several_engines_the_fitting_ones_count_and_the_newest_is_first(bundle: Bundle) -> None:
    build(bundle, replace(HERE, version="10.16.1.11"), created="2026-05-01T00:00:00+00:00")
    old = build(bundle, created="2026-02-01T00:00:00+00:00")
    new = build(bundle, batch=8, created="2026-03-01T00:00:00+00:00")
    assert fitting_engines(bundle, graph_of(bundle), HERE) == (new, old)


def test_no_engine_names_the_line_that_builds_one(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(
        BackendError, match=r"there is no TensorRT engine of pose\.onnx; build one with: rigpose engine"
    ):
        fitting_engines(bundle, graph_of(bundle), HERE)
    free = write_bundle(tmp_path / "free.bundle")
    assert command(free, graph_of(free)).endswith("--precision fp32 --frame-size HxW")
    # A detector of frames of any size is built by the same line as its pose graph of crops.
    crops = graph_of(bundle)
    whole = replace(free.manifest.graphs[0], role="detector", backends=("tensorrt",))
    pair = replace(bundle, manifest=replace(bundle.manifest, graphs=(crops, whole)))
    assert command(bundle, crops).endswith("--precision fp32")
    assert command(pair, crops).endswith("--precision fp32 --frame-size HxW")


@pytest.mark.parametrize("damage", ["no: record", "rigpose_engine: 1", "{", "\xff"])
def test_a_damaged_or_foreign_record_is_no_engine(bundle: Bundle, damage: str) -> None:
    engine = build(bundle)
    (engine.folder / RECORD).write_bytes(damage.encode("latin-1"))
    with pytest.raises(BackendError, match="there is no TensorRT engine"):
        fitting_engines(bundle, graph_of(bundle), HERE)


def test_a_record_of_another_format_is_no_engine(bundle: Bundle) -> None:
    path = build(bundle).folder / RECORD
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"rigpose_engine": FORMAT + 1}))
    assert not engines_of(bundle, graph_of(bundle))


def test_a_half_written_engine_is_none(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(BackendError, match=r"cannot be written \(No space left on device\); free space"):
        build(bundle)
    monkeypatch.undo()
    assert not engines_of(bundle, graph_of(bundle))
    assert not list((bundle.path / ENGINES).iterdir())


@pytest.mark.skipif(os.name == "nt", reason="folders have no write permission there")
def test_a_leftover_of_a_killed_build_is_no_engine(bundle: Bundle) -> None:
    engine = build(bundle)
    engine.folder.rename(engine.folder.with_name(f".{engine.folder.name}.part"))
    assert not engines_of(bundle, graph_of(bundle))
    assert build(bundle).plan()


def test_engines_of_a_graph_that_was_exported_again_are_removed(bundle: Bundle) -> None:
    kept = build(bundle)
    outdated = build(bundle, replace(HERE, version="11.4.1.0"))
    record = replace(outdated.record, fingerprint=replace(outdated.record.fingerprint, graph_sha256="0" * 64))
    write_engine(outdated.folder, b"", record)
    assert remove_outdated(bundle, graph_of(bundle)) == (outdated.folder,)
    assert engines_of(bundle, graph_of(bundle)) == (kept,)


def test_timing_caches_are_kept_by_gpu_version_and_driver(bundle: Bundle) -> None:
    paths = {timing_cache(bundle, machine) for machine in (HERE, *OTHERS.values())}
    assert len(paths) == 1 + len(OTHERS)
    assert all(path.parent == bundle.path / ENGINES and " " not in path.name for path in paths)


def test_shapes_must_not_shrink() -> None:
    with pytest.raises(ConfigError, match="must not shrink"):
        ShapeRange((1, 8), (4, 8), (2, 8))
    with pytest.raises(ConfigError, match="of one length"):
        ShapeRange((1, 8), (4, 8), (4, 8, 1))
    held = ShapeRange((1, 8), (4, 8), (4, 16))
    assert held.holds((2, 12)) and not held.holds((5, 8)) and not held.holds((2, 7)) and not held.holds((2,))
