"""One of several training processes, as ``launch`` starts it: ``python -m rigpose_training.engine.worker FOLDER``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from rigpose.errors import RigposeError


def main(folder: Path) -> int:
    """Run the call that lies in the folder, leave the answer there, and return the exit status."""
    from rigpose_training.engine.train import train_network

    call = json.loads((folder / "call.json").read_text(encoding="utf-8"))
    try:
        answer, status = {"snapshot": str(train_network(**call))}, 0
    except RigposeError as error:
        answer, status = {"error": str(error)}, 1
    except KeyboardInterrupt:
        return 130
    (folder / f"answer-{os.environ['RANK']}.json").write_text(json.dumps(answer), encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
