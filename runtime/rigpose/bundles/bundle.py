"""The bundle: one folder, no pickle, no code, that says everything a rig needs to run a model.

manifest.yaml          the only source of truth: strict, versioned, sealed with a checksum
pose.onnx              a graph from uint8 BGR frames to candidates
detector.onnx          of a top-down pair: a graph from frames to the boxes that the pose graph looks into
*.fp16.onnx, ...       the same in other precisions, and for backends with other operators
golden/                frames, and what the training framework gave for them
parity.yaml            what was compared at export, and how far apart it was
pytorch_config.yaml    the training configuration, for the record
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias

import yaml

from rigpose.errors import BundleError, ConfigError
from rigpose.models.model_spec import DetectorSpec, ModelSpec
from rigpose.schema import parse, to_mapping

FORMAT = 3
"""Version of the manifest's fields; a bundle of a newer format is refused."""

MANIFEST = "manifest.yaml"
GOLDEN_ANSWERS = "golden/answers.npz"
PARITY = "parity.yaml"
TRAINING_CONFIG = "pytorch_config.yaml"

Role: TypeAlias = Literal["pose", "detector", "pair"]
Precision: TypeAlias = Literal["fp32", "fp16", "int8"]
BackendName: TypeAlias = Literal["onnxruntime", "openvino", "tensorrt"]


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph. A name in ``shape`` is an axis that may vary."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphSpec:
    """A graph of the bundle: one way to compute what its role says.

    Attributes:
        role: Frames to poses, frames to boxes, or both in one graph.
        file: Path inside the bundle.
        backends: What takes this file. They differ in the operators they have and in how they want integers, so
            that a role in one precision may have a file for each.
        precision: Of convolutions and matrix products; coordinates are float32 in every precision.
        opset: ONNX operator set.
        nodes: Number of nodes, for comparing exports.
        minimum_onnxruntime: Oldest release that has all of its operators.
        inputs: Feeds, by name.
        outputs: Candidates, by name [input px].
    """

    role: Role
    file: str
    backends: tuple[BackendName, ...]
    precision: Precision
    opset: int
    nodes: int
    minimum_onnxruntime: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True)
class Display:
    """How the project draws poses; no part in decoding."""

    pcutoff: float = 0.6
    colormap: str = "rainbow"
    dot_size: int = 12
    skeleton_color: str = "black"


@dataclass(frozen=True)
class Provenance:
    """Where the weights came from; ``detector`` is the snapshot of a top-down pair's detector."""

    rigpose: str
    torch: str
    snapshot: str
    snapshot_sha256: str
    config_sha256: str
    epoch: int | None
    source: str
    detector: str | None
    detector_sha256: str | None


@dataclass(frozen=True)
class FileRecord:
    """Size and SHA-256 of a file of the bundle."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """``manifest.yaml``, complete: no field is optional and nothing is guessed from a file name.

    Attributes:
        rigpose_bundle: Format version.
        created: UTC time of the export, ISO 8601.
        scorer: DeepLabCut's name for these predictions; a part of every result's file name.
        model: Names, input steps and decode parameters.
        detector: Input steps of a top-down pair's detector, and which of its boxes become animals; none for other
            models, and for a top-down model whose boxes come from elsewhere.
        graphs: Those of the role ``pose`` and, for pairs, ``detector``; each role has one in fp32 for ONNX Runtime, and
            the others are that one in other precisions and for other backends.
        display: Drawing defaults.
        provenance: Where the weights came from.
        files: Every other file of the bundle.
    """

    rigpose_bundle: int
    created: str
    scorer: str
    model: ModelSpec
    detector: DetectorSpec | None
    graphs: tuple[GraphSpec, ...]
    display: Display
    provenance: Provenance
    files: dict[str, FileRecord]

    @property
    def roles(self) -> tuple[Role, ...]:
        """What there are graphs for, in the manifest's order."""
        return tuple(dict.fromkeys(graph.role for graph in self.graphs))

    def graph(self, role: Role, *, precision: Precision = "fp32", backend: BackendName = "onnxruntime") -> GraphSpec:
        """The graph that a backend runs in a precision.

        Raises:
            ConfigError: The bundle has none; those it has for the role are named.
        """
        alike = [graph for graph in self.graphs if graph.role == role]
        for graph in alike:
            if graph.precision == precision and backend in graph.backends:
                return graph
        others = "; ".join(f"{graph.precision} for {' and '.join(graph.backends)}" for graph in alike)
        there = (
            f"{self.scorer}: the bundle has no {role} graph in {precision} for {backend} (it has {others or 'none'})"
        )
        wanted = "--portable" if (precision, backend) == ("fp32", "tensorrt") else f"--precision {precision}"
        if role != "pair":
            raise ConfigError(f"{there}; export it again with {wanted}, or choose what there is.")
        if precision != "fp32":
            raise ConfigError(
                f"{there}; detector and pose network in one graph are made in fp32 alone, so leave out combined, or "
                f"{precision}."
            )
        wanted = f"--combined {wanted}" if backend == "tensorrt" else "--combined"
        raise ConfigError(f"{there}; export it again with {wanted}, or leave out combined.")


@dataclass(frozen=True)
class Bundle:
    """An opened bundle whose files have been compared with the manifest."""

    path: Path
    manifest: Manifest
    checksum: str

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read and verify a bundle folder.

        Raises:
            BundleError: Not a bundle, a newer format, or a missing or changed file.
        """
        folder = Path(path).expanduser()
        if folder.name == MANIFEST:
            folder = folder.parent
        if not (folder / MANIFEST).is_file():
            raise BundleError(f"{folder}: no {MANIFEST} there, so this is not a bundle; make one with: rigpose export.")
        checksum, fields = _read_sealed(folder / MANIFEST)
        version = fields.get("rigpose_bundle")
        if version != FORMAT:
            raise BundleError(
                f"{folder}: bundle format {version!r}, this rigpose reads {FORMAT}; upgrade rigpose or export again."
            )
        try:
            manifest = parse(Manifest, fields, where=f"{folder / MANIFEST}: manifest")
        except ConfigError as error:
            raise BundleError(f"{str(error).rstrip('.')}; export the bundle again.") from error
        needed, more = ({"pose"}, set[str]()) if manifest.detector is None else ({"pose", "detector"}, {"pair"})
        if not needed <= set(manifest.roles) <= needed | more:
            raise BundleError(
                f"{folder}: has graphs for {', '.join(manifest.roles)}, and its model needs "
                f"{' and '.join(sorted(needed))}; export the bundle again."
            )
        bundle = cls(folder, manifest, checksum)
        bundle.verify()
        return bundle

    def verify(self) -> None:
        """Compare every file's size and SHA-256 with the manifest.

        Raises:
            BundleError: Names the first file that is missing, changed or outside the bundle.
        """
        for name, record in self.manifest.files.items():
            path = self.file(name)
            if not path.is_file():
                raise BundleError(f"{self.path}: {name} is missing; copy the whole bundle folder again.")
            if path.stat().st_size != record.bytes or file_sha256(path) != record.sha256:
                raise BundleError(
                    f"{self.path}: {name} is not the file that was exported (its SHA-256 differs); copy the bundle "
                    "again or export it again."
                )

    def file(self, name: str) -> Path:
        """Path of a file of the bundle, which must lie inside it."""
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise BundleError(f"{self.path}: the manifest names {name!r}, which lies outside the bundle.")
        return self.path / relative

    def pytorch_config(self) -> dict[str, Any]:
        """The training configuration that the weights were trained with."""
        return yaml.safe_load(self.file(TRAINING_CONFIG).read_text(encoding="utf-8"))


def seal(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.yaml`` last: its presence says that the bundle is whole."""
    text = yaml.safe_dump(to_mapping(manifest), sort_keys=False, allow_unicode=True)
    temporary = folder / f".{MANIFEST}.part"
    temporary.write_text(text + _seal_line(text), encoding="utf-8")
    temporary.replace(folder / MANIFEST)


def record_files(folder: Path) -> dict[str, FileRecord]:
    """Size and SHA-256 of every file below ``folder``, sorted, without the manifest."""
    return {
        path.relative_to(folder).as_posix(): FileRecord(path.stat().st_size, file_sha256(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _seal_line(text: str) -> str:
    return f"checksum: {hashlib.sha256(text.encode()).hexdigest()}\n"


def _read_sealed(path: Path) -> tuple[str, dict[str, Any]]:
    """The checksum and the fields of a manifest whose last line is the checksum of all the lines above."""
    broken = BundleError(
        f"{path}: changed since the export (its checksum does not fit); copy the bundle again or export it again."
    )
    try:
        text = path.read_text(encoding="utf-8")
        start = text.rfind("checksum: ")
        if start < 0 or text[start:] != _seal_line(text[:start]):
            raise broken
        fields = yaml.safe_load(text[:start])
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise broken from error
    return text[start:].split()[1], fields
