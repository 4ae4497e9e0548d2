"""A real Ray cluster does shards as processes do: nodes die and come, and files are those of one process."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed")

from tests.evaluation.tiny_checkpoints import make_checkpoint, make_miniature
from tests.integration.faults import Undisturbed
from tests.integration.namespaces import why_not
from tests.integration.ray_cluster import on_a_cluster

REASON = why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.mark.timeout(300)
def test_shards_of_workers_that_died_are_done_by_others(tmp_path: Path) -> None:
    on_a_cluster("spreads", tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_evaluation_on_two_nodes_counts_what_one_process_counts(tmp_path: Path) -> None:
    made = (make_checkpoint(tmp_path / "run"), make_miniature(tmp_path / "val", 13))
    on_a_cluster("evaluates", *made, tmp_path, kills=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nodes_die_and_join_and_files_are_those_of_one_process(undisturbed: Undisturbed, tmp_path: Path) -> None:
    made = (undisturbed.index, undisturbed.curated)
    on_a_cluster("stages", undisturbed.shards, undisturbed.model, *made, tmp_path, kills=True)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_remote_folders_are_all_that_nodes_need_in_common(undisturbed: Undisturbed, tmp_path: Path) -> None:
    made = (undisturbed.index, undisturbed.curated)
    on_a_cluster("elsewhere", undisturbed.shards, undisturbed.model, *made, tmp_path)
