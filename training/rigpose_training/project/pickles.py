"""Pickles from others, read without trust.

A pickle can run any program. Here only the pieces of numpy arrays are let in, and a file that asks for anything
else is refused before that is looked up. DeepLabCut's splits are pickles, and so are parts of an HDF5 file that
PyTables reads: attributes and columns of objects.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rigpose.errors import ProjectError

# numpy 1 and numpy 2 spell the module differently; _codecs.encode is how old protocols carry an array's bytes.
_ALLOWED = {
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


def load_arrays(content: bytes, path: Path, *, encoding: str = "latin1") -> Any:
    """What a pickle of arrays, numbers, texts, lists, tuples and dicts holds.

    Args:
        content: The pickle.
        path: The file it came from, for the message.
        encoding: Of texts and arrays pickled by Python 2; latin1 is what numpy asks for.

    Raises:
        ProjectError: It asks for something else, which is named.
    """
    return _ArraysOnly(io.BytesIO(content), path, encoding).load()


@contextmanager
def only_arrays_in_tables(path: Path) -> Iterator[None]:
    """While this is open, PyTables unpickles arrays and plain values only.

    Raises:
        ProjectError: On leaving, if the file asked for something else. PyTables itself takes an attribute that
            cannot be unpickled for a text, so the refusal would otherwise go unseen.
    """
    from tables import atom, attributeset

    refused: list[ProjectError] = []

    def loads(content: Any, *, encoding: str = "ASCII") -> Any:
        try:
            return load_arrays(bytes(content), path, encoding=encoding)
        except ProjectError as error:
            refused.append(error)
            raise

    guarded = SimpleNamespace(loads=loads, dumps=pickle.dumps, HIGHEST_PROTOCOL=pickle.HIGHEST_PROTOCOL)
    modules: list[Any] = [atom, attributeset]
    # PyTables has no setting for this; its two modules that unpickle each look the function up by this name.
    for module in modules:
        module.pickle = guarded
    try:
        yield
    finally:
        for module in modules:
            module.pickle = pickle
        if refused:
            raise refused[0]


class _ArraysOnly(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, path: Path, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self.path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise ProjectError(
                f"{self.path} asks for {module}.{name}, which no split or label needs and which could run a program; "
                f"do not open this file anywhere, make it again."
            )
        return super().find_class(module, name)
