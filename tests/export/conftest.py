"""The graphs that many tests look at are traced once in a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import traced_graphs
from exported_once import shared_folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where ``made_once`` puts what all tests of the run share."""
    return shared_folder(tmp_path_factory)


@pytest.fixture(scope="session", autouse=True)
def _traced_graphs_are_shared(shared: Path) -> None:
    traced_graphs.keep_in(shared)
