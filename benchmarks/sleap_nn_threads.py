"""sleap-nn's own command, run by a Python that has it, with as many threads of ONNX Runtime as are asked for.

Usage: python sleap_nn_threads.py THREADS WORD ...

WORD ... is what stands behind ``sleap-nn`` on a command line. The command has no option for threads: its ONNX Runtime
takes one per core of the machine and binds them to those cores, also to cores that ``taskset`` took from the process,
so that without this it would have more than one core in any measurement.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import onnxruntime


def main() -> None:
    """Run the command."""
    threads, *words = sys.argv[1:]
    unlimited = onnxruntime.InferenceSession

    def limited(path: str, *, providers: list[str]) -> Any:
        """A session as sleap-nn opens it."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(threads)
        return unlimited(path, options, providers=providers)

    onnxruntime.InferenceSession = limited
    command = Path(sys.executable).with_name("sleap-nn")
    sys.argv = [str(command), *words]
    runpy.run_path(str(command), run_name="__main__")


if __name__ == "__main__":
    main()
