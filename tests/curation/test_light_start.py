"""Curating is array code: what only some options need is not loaded at its start."""

import subprocess
import sys


def test_curating_begins_without_pytorch() -> None:
    code = "import sys, curation.curate; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
