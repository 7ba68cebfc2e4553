"""Pickles from others, read without trust.

A pickle can run any program. Nothing here ever does: either only the pieces of numpy arrays are let in and a file
that asks for anything else is refused before that is looked up, or everything else becomes a ``Stranger``, which can
do nothing. DeepLabCut's splits and metadata are pickles, and so are parts of an HDF5 file that PyTables reads:
attributes and columns of objects.
"""

from __future__ import annotations

import io
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rigpose.errors import RigposeError

UNREADABLE = (
    pickle.UnpicklingError, AttributeError, EOFError, IndexError, KeyError, MemoryError, OverflowError, TypeError,
    ValueError,
)  # fmt: skip
"""What reading a damaged pickle may raise."""

# numpy 1 and numpy 2 spell the module differently; _codecs.encode is how old protocols carry an array's bytes.
_ALLOWED = {
    ("_codecs", "encode"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}

# PyTables can be guarded only as a whole; HDF5 itself works for one thread at a time, too.
_ONE_AT_A_TIME = threading.RLock()


class Stranger:
    """Stands where a pickle holds an object of a class that is not let in; takes everything and does nothing."""

    def __init__(self, *_arguments: object) -> None: ...

    def __setstate__(self, _state: object) -> None: ...

    def __setitem__(self, _key: object, _value: object) -> None: ...

    def append(self, _item: object) -> None:
        """Take an item of what was a list."""

    def add(self, _item: object) -> None:
        """Take an item of what was a set."""


def load_arrays(content: bytes, path: Path, *, error: type[RigposeError], encoding: str = "latin1") -> Any:
    """What a pickle of arrays, numbers, texts, lists, tuples and dicts holds.

    Args:
        content: The pickle.
        path: The file it came from, for the message.
        error: What a refusal is.
        encoding: Of texts and arrays pickled by Python 2; latin1 is what numpy asks for.

    Raises:
        RigposeError: As ``error``: it asks for something else, which is named.
    """
    return _ArraysOnly(content, path, error=error, encoding=encoding).load()


def load_among_strangers(content: bytes) -> Any:
    """What any pickle holds, with a ``Stranger`` for each object that is no array, number, text or container."""
    return _AmongStrangers(io.BytesIO(content)).load()


def read_hdf(path: Path, *, error: type[RigposeError]) -> Any:
    """What pandas wrote into an HDF5 file that holds one table.

    Raises:
        RigposeError: As ``error``: the file asks for more than arrays and plain values.
    """
    import pandas as pd

    # A store of our own, because read_hdf leaves the file open after some errors.
    with only_arrays_in_tables(path, error=error), pd.HDFStore(path, mode="r") as store:
        return pd.read_hdf(store)


@contextmanager
def only_arrays_in_tables(path: Path, *, error: type[RigposeError]) -> Iterator[None]:
    """While this is open, PyTables unpickles arrays and plain values only; other threads wait their turn.

    Raises:
        RigposeError: As ``error``, on leaving, if the file asked for something else. PyTables itself takes an
            attribute that cannot be unpickled for a text, so the refusal would otherwise go unseen.
    """
    from tables import atom, attributeset

    refused: list[RigposeError] = []

    def loads(content: Any, *, encoding: str = "ASCII") -> Any:
        try:
            return load_arrays(bytes(content), path, error=error, encoding=encoding)
        except error as refusal:
            refused.append(refusal)
            raise

    guarded = SimpleNamespace(loads=loads, dumps=pickle.dumps, HIGHEST_PROTOCOL=pickle.HIGHEST_PROTOCOL)
    modules: list[Any] = [atom, attributeset]
    with _ONE_AT_A_TIME:
        # PyTables has no setting for this; its two modules that unpickle each look the function up by this name.
        before = [module.pickle for module in modules]
        for module in modules:
            module.pickle = guarded
        try:
            yield
        finally:
            for module, own in zip(modules, before, strict=True):
                module.pickle = own
            if refused:
                raise refused[0]


class _ArraysOnly(pickle.Unpickler):
    def __init__(self, content: bytes, path: Path, *, error: type[RigposeError], encoding: str) -> None:
        super().__init__(io.BytesIO(content), encoding=encoding)
        self.path, self.error = path, error

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise self.error(
                f"{self.path} asks for {module}.{name}, which no table or split needs and which could run a program; "
                f"do not open this file anywhere, make it again."
            )
        return super().find_class(module, name)


class _AmongStrangers(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if (module, name) in _ALLOWED else Stranger
