"""What a recipe's text says, before PyTorch is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_what_is_no_yaml_is_told_before_pytorch_starts(tmp_path: Path) -> None:
    recipe = tmp_path / "many.yaml"
    recipe.write_text("k0: &k0 [1, 1]\n" + "".join(f"k{n}: &k{n} [*k{n - 1}, *k{n - 1}]\n" for n in range(1, 30)))
    code = (
        "import sys, cocu\n"
        "try: cocu.train(sys.argv[1], 'shards', 'run', {'epochs': 1})\n"
        "except Exception as error: print(error)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, recipe], capture_output=True, text=True, check=True)
    said, torch = done.stdout.splitlines()
    assert said.startswith(f"{recipe}:")
    assert "holds more than 50,000 values" in said
    assert torch == "False"
