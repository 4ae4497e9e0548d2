"""Parts of a build and of a curation, by processes of their own, at once, one of them killed: as one run makes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.faults import Undisturbed, WarmCommand, build, curate, run, same, start

PARTS = 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_parts_make_what_one_run_makes(undisturbed: Undisturbed, warm: WarmCommand, tmp_path: Path) -> None:
    index, curated = tmp_path / "index", tmp_path / "curated"
    build_it = build(undisturbed.shards, index, undisturbed.model)
    for command, out, expected in (
        (build_it, index, undisturbed.index),
        (curate(undisturbed.index, curated), curated, undisturbed.curated),
    ):
        log = tmp_path / "log"
        others = [start(*command, "--part", f"{number}/{PARTS}") for number in (1, 3)]
        warm.start((*command, "--part", f"2/{PARTS}"), log, renames=12)
        assert warm.wait() == -9, log.read_text()
        for other in others:
            told = "".join(other.communicate(timeout=300))
            assert other.returncode == 0, told
            assert re.search("has its 1[34] of 40 shards", told), told
        assert "shards are missing" in run(*command, "--part", "finish", code=1)
        warm.start((*command, "--part", f"2/{PARTS}"), log)
        assert warm.wait() == 0, log.read_text()
        assert "none is missing: --part finish comes next" in log.read_text()
        run(*command, "--part", "finish")
        same(expected, out)
