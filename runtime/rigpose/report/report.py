"""What was named -> the page that fits it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rigpose.bundles.bundle import MANIFEST, TRAINING_CONFIG, Bundle
from rigpose.errors import ConfigError, ResultError
from rigpose.files.results import ResultFiles
from rigpose.progress import Progress, silent
from rigpose.report.analysed import read_analysed, tables_in
from rigpose.report.page import write_page


def write_report(
    sources: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    video: str | Path | None = None,
    show: Progress = silent,
) -> Path:
    """Write one page about results, a bundle or a shuffle, and return where it is.

    Args:
        sources: Tables of analysed videos (``.h5`` or ``.csv``) and folders of them; or one bundle; or the folder of
            one shuffle in ``dlc-models-pytorch``.
        output: Where; none for beside what it is about: ``{table}_report.html``, ``{bundle}_report.html``,
            ``report.html`` in a shuffle's folder or, of several tables, in the folder of the first.
        video: The video of the only table; none to look for it beside the table.
        show: How progress is shown while videos are read.

    Raises:
        RigposeError: What was named is none of these, is damaged, or the page cannot be written.
    """
    paths = [Path(source).expanduser() for source in sources]
    alone = paths[0] if len(paths) == 1 else None
    if alone is not None and (alone / MANIFEST if alone.is_dir() else alone).name == MANIFEST:
        folder = alone if alone.is_dir() else alone.parent
        if (folder / MANIFEST).is_file():
            from rigpose.report.bundle_page import bundle_page

            return write_page(bundle_page(Bundle.open(folder)), output or _beside(folder))
    if alone is not None and (train := _train_folder(alone)) is not None:
        from rigpose.report.shuffle_page import shuffle_page

        return write_page(shuffle_page(train), output or train.parent / "report.html")
    tables = [table for path in paths for table in _tables(path)]
    if len(tables) == 1:
        from rigpose.report.results_page import results_page

        analysed = read_analysed(tables[0], None if video is None else Path(video))
        files = ResultFiles.including(tables[0])
        return write_page(results_page(analysed, show=show), output or files.folder / f"{files.stem}_report.html")
    if video is not None:
        raise ConfigError(f"--video names the video of one table, and there are {len(tables)}; leave it out.")
    return write_batch_report(dict.fromkeys(tables), output or tables[0].parent / "report.html", show=show)


def write_batch_report(
    tables: Mapping[Path, Path | None],
    output: str | Path,
    *,
    failures: Sequence[str] = (),
    show: Progress = silent,
) -> Path:
    """Write one page with a row for each analysed video, the worst first, and return where it is.

    Args:
        tables: Of the videos, each with where its video is; none to look for it beside the table.
        output: Where.
        failures: Sentences about videos that could not be analysed.
        show: How progress is shown while tables and videos are read.

    Raises:
        ResultError: The page cannot be written. What cannot be read is named on it.
    """
    from rigpose.report.batch_page import batch_page

    return write_page(batch_page(tables, failures=failures, show=show), output)


def _beside(folder: Path) -> Path:
    """A bundle is sealed, so that its page is not put into it."""
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}_report.html")


def _train_folder(path: Path) -> Path | None:
    """The folder with the training's configuration, of a shuffle's folder or of that itself."""
    for folder in (path, path / "train"):
        if (folder / TRAINING_CONFIG).is_file():
            return folder
    return None


def _tables(path: Path) -> list[Path]:
    if path.is_dir():
        return tables_in(path)
    if path.suffix not in {".h5", ".csv"}:
        raise ResultError(
            f"{path}: is no .h5 or .csv table of poses, no bundle and no shuffle's folder; name one of these."
        )
    return [path]
