"""The tiny CLIP that comes with the package: its name for users, and where its weights lie."""

from __future__ import annotations

from pathlib import Path

NAME = "miniature"
FOLDER = Path(__file__).with_name("weights")
