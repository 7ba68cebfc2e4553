"""What a benchmark says of input that it cannot use: the sentence alone, as the command line does."""

from __future__ import annotations

from collections.abc import Callable

from rigpose.errors import RigposeError


def in_sentences(main: Callable[[], None]) -> None:
    """Run a benchmark.

    Raises:
        SystemExit: A bundle, video or option cannot be used; with the sentence that says why.
    """
    try:
        main()
    except RigposeError as error:
        raise SystemExit(str(error)) from None
