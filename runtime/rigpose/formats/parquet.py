"""Apache Parquet: one row per frame, individual and keypoint, for pandas, polars, R, DuckDB and the like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from rigpose import __version__
from rigpose.files.results import VALUES_AT_A_TIME
from rigpose.formats.new_file import new_file
from rigpose.formats.tracks_table import ORIGIN, TracksTable

METADATA_KEY = b"rigpose"
"""Where in the file's metadata the facts are that have no column, as JSON."""


def write_parquet(path: Path, tracks: TracksTable) -> None:
    """Write ``frame, time, individual, keypoint, x, y, likelihood``.

    Every frame has a row for each keypoint of each individual; what was not found is null, so that gaps are seen. The
    individual of keypoints that exist once per frame is DeepLabCut's ``single``.

    Raises:
        ResultError: The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    words = pa.dictionary(pa.int32(), pa.string())
    columns = [("frame", pa.int64()), ("time", pa.float64()), ("individual", words), ("keypoint", words)]
    columns += [(name, pa.float32()) for name in ("x", "y", "likelihood")]
    schema = pa.schema(columns, metadata={METADATA_KEY: json.dumps(_facts(tracks)).encode()})
    owners = tracks.owners()
    individuals = list(dict.fromkeys(owner for owner, *_ in owners))
    keypoints = list(dict.fromkeys(name for _, names, *_ in owners for name in names))
    # (P,) the individual and the keypoint of each point of a frame
    whose = np.concatenate([np.full(len(names), individuals.index(owner)) for owner, names, *_ in owners])
    which = np.concatenate([[keypoints.index(name) for name in names] for _, names, *_ in owners])
    points = len(whose)
    step = max(1, VALUES_AT_A_TIME // (3 * points))
    with new_file(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for start in range(0, len(tracks), step):
            frames = np.arange(start, min(start + step, len(tracks)))
            xy = np.concatenate([xy[frames] for _, _, xy, _ in owners], axis=1).reshape(-1, 2)
            score = np.concatenate([score[frames] for *_, score in owners], axis=1).ravel()
            arrays: list[Any] = [
                pa.array(np.repeat(frames, points)),
                pa.array(np.repeat(tracks.times[frames], points)),
                _named(np.tile(whose, len(frames)), individuals),
                _named(np.tile(which, len(frames)), keypoints),
                *(pa.array(values.astype(np.float32), from_pandas=True) for values in (*xy.T, score)),
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _named(numbers: np.ndarray, names: list[str]) -> Any:
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(numbers.astype(np.int32)), pa.array(names, pa.string()))


def _facts(tracks: TracksTable) -> dict[str, Any]:
    return {
        "rigpose": __version__,
        "scorer": tracks.scorer,
        "video": tracks.video_name,
        "frames_per_second": tracks.frames_per_second,
        "began": tracks.began.isoformat() if tracks.began else None,
        "frame_size": list(tracks.frame_size) if tracks.frame_size else None,
        "individuals": list(tracks.individuals),
        "keypoints": list(tracks.keypoints),
        "unique_keypoints": list(tracks.unique_keypoints),
        "skeleton": [list(pair) for pair in tracks.skeleton],
        "origin": ORIGIN,
    }
