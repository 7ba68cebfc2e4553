"""The page of a bundle: what it is, and its parity certificate in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rigpose.bundles.bundle import Bundle, GraphSpec
from rigpose.bundles.certificate import Certificate, GraphCertificate, Metric, read_certificate
from rigpose.bundles.described import animals_found, grouping_parameters, seen_by
from rigpose.bundles.golden import read_golden
from rigpose.report.charts import parts_bar
from rigpose.report.markup import Html, join, tag
from rigpose.report.numbers import NOTHING, count, counted
from rigpose.report.page import LOOK, document, section
from rigpose.report.pictures import Picture, drawn_large, gallery
from rigpose.report.sentences import Sentence, Weight, verdict_list
from rigpose.report.tables import facts, large_numbers, nothing, table
from rigpose.videos.drawing import DrawStyle

MOST_PICTURES = 8


def bundle_page(bundle: Bundle) -> str:
    """The page's text.

    Raises:
        BundleError: The certificate or a golden frame cannot be read.
    """
    certificate = read_certificate(bundle)
    sentences = list(in_words(certificate))
    accepted = any(one.weight is Weight.BAD for one in sentences)
    main = tag(
        "main",
        section("In numbers", large_numbers(_numbers(bundle, certificate)), "wide strip"),
        section("Parity in words", verdict_list(sentences)),
        section("What it is", facts(dict(_facts(bundle)))),
        section("Graphs and what their precision costs", _graphs(bundle, certificate), "wide tight"),
        section("Golden frames, as the training framework sees them", _golden(bundle), "wide"),
        section("What was compared", _cases(certificate), "wide tight"),
        section("Sizes", _sizes(bundle), "tight"),
        section("Who measured", facts(_measured(certificate))),
    )
    words = "has losses that were accepted" if accepted else "certified"
    header = tag(
        "header",
        tag("h1", bundle.path.resolve().name),
        tag("span", tag("strong", words), class_=f"state {'check' if accepted else 'fine'}"),
        tag("span", f"{bundle.manifest.model.architecture}, {_task(bundle)}", class_="aside"),
    )
    return document(f"{bundle.path.resolve().name} · rigpose", LOOK.read_text(encoding="utf-8"), [header, main])


def in_words(certificate: Certificate) -> Iterator[Sentence]:
    """What the certificate says, the comparison with the training framework first."""
    yield from _same(certificate)
    for proof in certificate.graphs:
        if proof.loss is not None:
            yield _loss(proof)
    for one in certificate.left_out:
        yield Sentence(Weight.NOTE, f"{one.precision} for {' and '.join(one.backends)} was left out: {one.reason}")
    for trial in certificate.tensorrt:
        if trial.refusal is not None:
            yield Sentence(Weight.BAD, f"{trial.file} was refused by TensorRT for RTX: {trial.refusal}")
        elif trial.seconds is not None:
            yield Sentence(Weight.GOOD, f"{trial.file} was built by TensorRT for RTX in {trial.seconds:.0f} s.")
    if not certificate.metric:
        yield Sentence(Weight.NOTE, "There were no labelled images, so nobody knows how right the model is.")
    for role, metric in certificate.metric.items():
        animals = counted(metric.labelled, "labelled animal")
        words = f"How right the {role} model itself is: {_metric(metric)} on {animals}, {certificate.measured}."
        yield Sentence(Weight.NOTE, words)


def _same(certificate: Certificate) -> Iterator[Sentence]:
    """What the fp32 graphs give against the training framework."""
    cases, tolerance = certificate.cases, certificate.tolerance
    if not cases:
        yield Sentence(Weight.BAD, "Nothing was compared with the training framework.")
        return
    sizes = len({(case.batch, case.height, case.width) for case in cases})
    yield Sentence(
        Weight.GOOD,
        f"In fp32 it gives what {certificate.reference} gives: {counted(len(cases), 'comparison')} of "
        f"{count(sum(case.difference.compared for case in cases))} answers in {counted(sizes, 'size')} of frames and "
        "batches all lie within the tolerance.",
    )
    kinds = (("keypoint", tolerance.position_px), ("corner of a box", tolerance.box_px))
    for (name, allowed), boxes in zip(kinds, (False, True), strict=True):
        worst = [case.difference.worst_px for case in cases if (case.what == "boxes") == boxes]
        if worst:
            words = f"The largest distance of a {name} is {px(max(worst))}, and about {px(allowed)} is allowed."
            yield Sentence(Weight.GOOD, words)
    if ties := sum(case.difference.ties for case in cases):
        yield Sentence(
            Weight.NOTE,
            f"{counted(ties, 'answer')} {'is' if ties == 1 else 'are'} another one than the framework's first, where "
            "rounding alone decides and the framework itself gives both.",
        )


def px(distance: float) -> str:
    """A distance; what is far below a pixel is only said to be so."""
    if distance < 0.0001:
        return "under 0.0001 px"
    return f"{distance:.2g} px" if distance < 1 else f"{distance:.1f} px"


def _loss(proof: GraphCertificate) -> Sentence:
    assert proof.loss is not None
    moved = proof.loss.drift
    lost = f", {counted(moved.lost, 'keypoint')} lost" if moved.lost else ""
    what = (
        f"{proof.file}, {proof.precision}, in {_library(proof)} against {proof.against}: half of "
        f"{count(moved.compared)} sure keypoints move by {px(moved.median_px)} at most, one in a hundred by more than "
        f"{px(moved.p99_px)}, the worst by {px(moved.worst_px)}{lost}"
    )
    if proof.verdict == "passed":
        return Sentence(Weight.GOOD, f"{what}; within its bounds.")
    beyond = "; ".join(text.rstrip(".") for text in proof.loss.beyond)
    return Sentence(Weight.BAD, f"{what}; accepted all the same, though beyond its bounds: {beyond}.")


def _library(proof: GraphCertificate) -> str:
    return {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "tensorrt": "TensorRT"}[proof.backend]


def _numbers(bundle: Bundle, certificate: Certificate) -> list[tuple[str, str, str]]:
    manifest = bundle.manifest
    size = sum(record.bytes for record in manifest.files.values()) / 1e6
    told = [("size", f"{size:.0f}" if size >= 10 else f"{size:.1f}", "MB")]
    worst = [case.difference.worst_px for case in certificate.cases if case.what != "boxes"]
    if worst:
        shown = "<0.001" if max(worst) < 0.001 else f"{max(worst):.2g}"
        told.append(("off by at most", shown, "px"))
    told.append(("keypoints", count(len(manifest.model.keypoints)), ""))
    told.append(("most animals", count(len(manifest.model.individuals)), ""))
    metric = certificate.metric.get("pose")
    if metric is not None and metric.px_error is not None:
        told.append(("mean error", f"{metric.px_error:.3g}", "px"))
    if metric is not None and metric.mAP is not None:
        told.append(("mAP", f"{metric.mAP:.1f}", ""))
    return told


def _task(bundle: Bundle) -> str:
    return bundle.manifest.model.task.replace("_", " ")


def _facts(bundle: Bundle) -> Iterator[tuple[str, str]]:
    manifest, model, source = bundle.manifest, bundle.manifest.model, bundle.manifest.provenance
    yield "scorer", manifest.scorer
    yield "model", f"{model.architecture}, {_task(bundle)}"
    yield "keypoints", ", ".join((*model.keypoints, *model.unique_keypoints))
    yield "individuals", ", ".join(model.individuals)
    yield "skeleton", ", ".join("\N{EN DASH}".join(pair) for pair in model.skeleton) or "none"
    yield "input", seen_by(model)
    if (found := animals_found(manifest)) is not None:
        yield "animals", found
    yield from zip(("grouping", "switches"), grouping_parameters(model), strict=False)
    detector = f" and {source.detector}" if source.detector else ""
    yield "from", f"{source.snapshot} (epoch {source.epoch}){detector}, {source.source}"
    yield "made", f"{manifest.created} by rigpose {source.rigpose} with torch {source.torch}"
    yield "files", f"every SHA-256 of {counted(len(manifest.files), 'file')} checked for this page"


def _graphs(bundle: Bundle, certificate: Certificate) -> Html:
    """A row for each graph and library that it was measured in."""
    rows = [
        row
        for graph in bundle.manifest.graphs
        for row in _rows(graph, bundle, [proof for proof in certificate.graphs if proof.file == graph.file])
    ]
    head = ("graph", "precision", "MB", "median px", "p99 px", "worst px", "lost", "error px", "mAP", "verdict")
    return table("Graphs of the bundle", head, rows)


def _rows(graph: GraphSpec, bundle: Bundle, proofs: list[GraphCertificate]) -> Iterator[tuple[str, ...]]:
    size = f"{bundle.manifest.files[graph.file].bytes / 1e6:.1f}"
    if not proofs:
        yield (_graph(graph, graph.backends), graph.precision, size, *[NOTHING] * 6, "not measured")
    for proof in proofs:
        backends = graph.backends
        if len(proofs) > 1:
            # Of two rows for one file, each is for what gives its numbers.
            backends = tuple(b for b in backends if (b == "openvino") == (proof.backend == "openvino"))
        metric = proof.metric
        error = NOTHING if metric is None or metric.px_error is None else f"{metric.px_error:.2f}"
        precision = NOTHING if metric is None or metric.mAP is None else f"{metric.mAP:.1f}"
        verdict = tag("span", proof.verdict, class_="good" if proof.verdict == "passed" else "bad")
        yield (_graph(graph, backends), proof.precision, size, *_distances(proof), error, precision, verdict)


def _graph(graph: GraphSpec, backends: Sequence[str]) -> Html:
    return join([graph.file, tag("small", f" {graph.role}, {count(graph.nodes)} nodes, for {', '.join(backends)}")])


def _distances(proof: GraphCertificate) -> tuple[str, str, str, str]:
    """Median, p99, worst [px] and how many were lost."""
    if proof.loss is not None:
        moved = proof.loss.drift
        return _digits(moved.median_px), _digits(moved.p99_px), _digits(moved.worst_px), count(moved.lost)
    differences = [case.difference for case in proof.cases]
    if not differences:
        return NOTHING, NOTHING, NOTHING, NOTHING
    p99, worst = (max(values) for values in zip(*((d.p99_px, d.worst_px) for d in differences), strict=True))
    return NOTHING, _digits(p99), _digits(worst), count(sum(d.missing for d in differences))


def _digits(distance: float) -> str:
    return px(distance).removesuffix(" px").replace("under ", "< ")


def _golden(bundle: Bundle) -> Html:
    golden, manifest = read_golden(bundle), bundle.manifest
    model, display = manifest.model, manifest.display
    number = {name: index for index, name in enumerate(model.keypoints)}
    style = DrawStyle(
        pcutoff=display.pcutoff,
        colormap=display.colormap,
        skeleton=tuple((number[a], number[b]) for a, b in model.skeleton if a in number and b in number),
        skeleton_color="white",
    )
    pictures = []
    for i, (frame, poses) in enumerate(zip(golden.frames, golden.answers[0], strict=True)):
        words = f"{counted(len(poses), 'animal')}, {frame.shape[1]} x {frame.shape[0]} px"
        pictures.append(Picture(drawn_large(frame, poses, style), f"golden frame {i}", words))
    return gallery(pictures[:MOST_PICTURES]) if pictures else nothing("The bundle has none.")


def _cases(certificate: Certificate) -> Html:
    if not certificate.cases:
        return nothing("Nothing was compared with the training framework.")
    rows = []
    for proof in certificate.graphs:
        for case in proof.cases:
            found = case.difference
            rows.append(
                (
                    f"{case.what}, {proof.file}", f"{case.batch} of {case.width} x {case.height}",
                    count(found.compared), _digits(found.worst_px), _digits(found.p99_px), f"{found.worst_score:.1g}",
                    count(found.beyond), count(found.ties),
                )
            )  # fmt: skip
    head = ("what", "frames, px", "compared", "worst px", "p99 px", "score", "beyond", "ties")
    return table("Comparisons with the training framework", head, rows)


def _sizes(bundle: Bundle) -> Html:
    """The files, those of a folder as one, the largest first."""
    sizes: Counter[str] = Counter()
    for name, record in bundle.manifest.files.items():
        folder, _, rest = name.partition("/")
        sizes[f"{folder}/" if rest else name] += record.bytes
    most = max(sizes.values(), default=0) or 1
    rows = [
        (
            name,
            parts_bar([("size", size / most), ("rest", 1 - size / most)]),
            f"{size / 1e6:.1f}" if size >= 1e5 else "< 0.1",
        )
        for name, size in sizes.most_common()
    ]
    return table("Sizes of the files", ("file", "", "MB"), rows)


def _measured(certificate: Certificate) -> dict[str, str]:
    told = {
        "reference": certificate.reference,
        "compared": certificate.compared,
        "frames": certificate.frames,
        "metric": certificate.measured,
    }
    return told | {name: version for name, version in certificate.versions.items() if name not in told}


def _metric(metric: Metric) -> str:
    error = [] if metric.px_error is None else [f"mean error {metric.px_error:.3g} px"]
    return ", ".join([*error, *([] if metric.mAP is None else [f"mAP {metric.mAP:.1f}"])]) or "nothing was found"
