"""Run by nnU-Net's Python: calls a function of this folder.

    NNUNET_PYTHON nnunet_worker.py MODULE.FUNCTION ARGUMENTS.json ANSWER.json

The modules nnunet_cases, nnunet_networks, nnunet_prediction, nnunet_programs and nnunet_selection call only public
functions and classes of nnU-Net.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

if __name__ == "__main__":
    called, arguments, answer = sys.argv[1:]
    module, _, function = called.partition(".")
    found = getattr(importlib.import_module(module), function)(**json.loads(Path(arguments).read_text()))
    Path(answer).write_text(json.dumps(found))
