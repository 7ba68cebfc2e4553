"""Every architecture and detector in every precision: whether it exports, how large, how close to torch, and TensorRT.

    PYTHONPATH=tests python benchmarks/export_table.py [--only ENTRY...] [--again]
    python benchmarks/export_table.py --bundles BUNDLE... [--trained WORDS...]
    python benchmarks/export_table.py --markdown

Each graph is a line in ``benchmarks/results/export.jsonl``, written as soon as it is known; a later run goes on where
an earlier one of the same commit stopped. Each architecture runs in a process of its own, so that memory is given back
and a crash is a line, too. Weights are random, the same for everybody, so distances in lower precisions say little
beyond that the graph is the right one: what they cost is said by the certificates of trained ``--bundles``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from export_case import Entry, attempt, detector_case, engine, pose_case
from record import RESULTS, record, surroundings

NAME = "export"
PACKAGES = ("onnx", "onnxscript", "tensorrt_rtx_cu13_bindings", "tensorrt_rtx_cu12_bindings")
INTRODUCTION = """# Every architecture in every precision

Made by `benchmarks/export_table.py`. Distances are from torch: of fp32 over all keypoints, of the rest over those that
torch is sure of, if there are any. Rows without a metric have random weights: there a lower precision moves peaks
that stand out from nothing, so its distance says little, and what it costs is in the trained rows at the end. "int8"
is for ONNX Runtime on CPUs, "int8 symmetric" for TensorRT, "int8 in OpenVINO" has a form of its own, "fp32 portable"
is the form for TensorRT of graphs that hold an operator which it lacks. The last column: engine and seconds of TensorRT
for RTX, without a GPU.
"""
HEADER = (
    "model",
    "task",
    "form",
    "nodes",
    "MB",
    "worst px",
    "p99 px",
    "on labels (change)",
    "TensorRT for RTX",
)


def entries() -> list[Entry]:
    """All models of ``rigpose models`` and all detectors, as the README lists them."""
    from rigpose_training.model_table import detector_table, model_table

    models = [Entry(row.entry, row.name, row.task) for row in model_table()]
    return [*models, *(Entry(f"detector.{row.name}", row.name, "detector") for row in detector_table())]


def measure(entry: Entry) -> Iterator[dict[str, Any]]:
    """Export a network with random weights in every form, and hold each against torch; a line per form."""
    case = detector_case(entry) if entry.task == "detector" else pose_case(entry)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        plain, seconds, reason = attempt(lambda: case.trace(folder, portable=False))
        yield case.line("fp32", folder, plain, seconds, reason)
        if plain is None:
            return
        general = plain
        if "tensorrt" not in plain.backends:
            found, seconds, reason = attempt(lambda: case.trace(folder, portable=True))
            yield case.line("fp32 portable", folder, found, seconds, reason)
            general = found or plain
        for form, make in (
            ("fp16", lambda: case.halve(folder, general)),
            ("int8", lambda: case.quantise(folder, plain, backend="onnxruntime")),
            ("int8 symmetric", lambda: case.quantise(folder, general, backend="tensorrt")),
        ):
            found, seconds, reason = attempt(make)
            yield case.line(form, folder, found, seconds, reason)


def measure_trained(folder: Path, words: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The lines of a bundle of a trained model, from its certificate: distances, and what they cost on its labels."""
    from rigpose.bundles.bundle import Bundle
    from rigpose.bundles.certificate import read_certificate

    bundle = Bundle.open(folder)
    certificate, manifest = read_certificate(bundle), bundle.manifest
    for proved in certificate.graphs:
        graph = next(one for one in manifest.graphs if one.file == proved.file)
        cases = [case.difference for case in proved.cases if case.what != "candidates"]
        worst = max(cases, key=lambda difference: difference.worst_px, default=None)
        moved = asdict(proved.loss.drift) if proved.loss else asdict(worst) if worst else None
        form = {"pose": "", "detector": "detector "}.get(graph.role, f"{graph.role} ") + graph.precision
        form += " portable" if ".portable." in graph.file else " symmetric" if "symmetric" in graph.file else ""
        form += " in OpenVINO" if proved.backend == "openvino" else ""
        plain = certificate.metric.get(graph.role)
        yield {
            "entry": bundle.path.name, "model": manifest.model.architecture, "task": manifest.model.task, "form": form,
            "weights": " ".join((manifest.provenance.snapshot, *words)), "exports": True, "reason": None,
            "nodes": graph.nodes, "bytes": bundle.file(graph.file).stat().st_size, "against_torch": moved,
            "metric": None if proved.metric is None else asdict(proved.metric),
            "metric_of_torch": None if plain is None else asdict(plain), "measured": certificate.measured,
            "verdict": proved.verdict, "tensorrt": engine(bundle.file(graph.file), graph),
        }  # fmt: skip


# --- the table ----------------------------------------------------------------------------------------------------


def lines() -> list[dict[str, Any]]:
    """What has been measured so far."""
    path = RESULTS / f"{NAME}.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def keep(facts: Mapping[str, Any]) -> None:
    """Append a line, and show it."""
    record(NAME, {**facts, "packages": {name: found for name in PACKAGES if (found := installed(name))}})
    print(" | ".join(cells(facts)), flush=True)


def installed(package: str) -> str | None:
    """Its version, if it is there."""
    with contextlib.suppress(PackageNotFoundError):
        return version(package)
    return None


def cells(facts: Mapping[str, Any]) -> list[str]:
    """A line of the table, as texts."""
    moved, metric = facts.get("against_torch") or {}, facts.get("metric") or {}
    name = facts["model"] if facts["weights"] == "random" else f"{facts['model']}, trained: {facts['entry']}"
    first = [f"`{name}`", facts["task"], facts["form"]]
    if not facts["exports"]:
        return [*first, f"no: {facts['reason']}", *[""] * 5]
    figures = [f"{moved[key]:.2g}" if key in moved else "" for key in ("worst_px", "p99_px")]
    if facts.get("compare_reason"):
        figures = [facts["compare_reason"], ""]
    plain = facts.get("metric_of_torch") or {}
    cost = ", ".join(
        f"{name} {metric[key]:.2f} ({metric[key] - plain[key]:+.2f})"
        for key, name in (("px_error", "px"), ("mAP", "mAP"))
        if metric.get(key) is not None and plain.get(key) is not None
    )
    return [*first, str(facts["nodes"]), f"{facts['bytes'] / 1e6:.1f}", *figures, cost, engine_cell(facts["tensorrt"])]


def engine_cell(built: Mapping[str, Any] | None) -> str:
    """Size and seconds of an engine, or why there is none."""
    if built is None:
        return "another form is for it"
    return f"{built['bytes'] / 1e6:.1f} MB, {built['seconds']:.0f} s" if built["builds"] else f"no: {built['reason']}"


def markdown() -> str:
    """The newest line of each entry and form, in the order of ``rigpose models``, then what was trained."""
    newest = {(line["entry"], line["form"]): line for line in lines()}
    place = {entry.name: i for i, entry in enumerate(entries())}
    rows = sorted(newest.values(), key=lambda line: place.get(line["entry"], len(place)))
    table = [HEADER, ["---"] * len(HEADER), *(cells(line) for line in rows)]
    return "\n".join((INTRODUCTION, *(f"| {' | '.join(text.replace('|', '/') for text in row)} |" for row in table)))


def run_all(wanted: Sequence[Entry], *, again: bool) -> None:
    """Measure each in a process of its own; those that this commit has been measured with are left out."""
    commit = surroundings()["commit"]
    done = set() if again else {line["entry"] for line in lines() if line["commit"] == commit and line.get("last")}
    for entry in wanted:
        if entry.name in done:
            print(f"{entry.name}: measured already; --again measures it once more")
            continue
        started = time.perf_counter()
        ended = subprocess.run([sys.executable, __file__, "--one", entry.name], check=False)
        if ended.returncode:
            reason = f"the process ended with {ended.returncode}"
            facts = {"entry": entry.name, "model": entry.model, "task": entry.task, "form": "all", "weights": "random"}
            keep({**facts, "exports": False, "reason": reason, "last": True})
        print(f"{entry.name}: {time.perf_counter() - started:.0f} s", flush=True)


def run_one(entry: Entry) -> None:
    """Measure an entry here; its last line says that it is whole."""
    waiting: dict[str, Any] | None = None
    for facts in measure(entry):
        if waiting is not None:
            keep(waiting)
        waiting = facts
    if waiting is not None:
        keep({**waiting, "last": True})


def main() -> None:
    """Measure what is asked for, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="ENTRY", help="entries or model names; all by default")
    parser.add_argument("--again", action="store_true", help="also what this commit has been measured with")
    parser.add_argument("--bundles", nargs="+", type=Path, help="bundles of trained models, for the metric")
    parser.add_argument("--trained", nargs="*", default=[], help="with --bundles: words that say how they were trained")
    parser.add_argument("--markdown", action="store_true", help="print the table of the lines so far")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.markdown:
        print(markdown())
        return
    if options.bundles is not None:
        for folder in options.bundles:
            for facts in measure_trained(folder, options.trained):
                keep(facts)
        return
    wanted = entries()
    chosen = [options.one] if options.one else options.only
    if chosen:
        unknown = set(chosen) - {name for entry in wanted for name in (entry.name, entry.model)}
        if unknown:
            parser.error(f"no such entry: {', '.join(sorted(unknown))}; there are {', '.join(e.name for e in wanted)}")
        wanted = [entry for entry in wanted if {entry.name, entry.model} & set(chosen)]
    if options.one:
        run_one(wanted[0])
    else:
        run_all(wanted, again=options.again)


if __name__ == "__main__":
    main()
