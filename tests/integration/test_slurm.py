"""The documented scripts on a real Slurm: a machine and a task are lost, and files are those of one process."""

from __future__ import annotations

import shutil
import tempfile

import pytest

from tests.integration.faults import Undisturbed
from tests.integration.namespaces import in_namespaces, why_not
from tests.integration.slurm_cluster import PROGRAMS

LACKING = [name for name in PROGRAMS if shutil.which(name) is None]
REASON = f"Slurm is not installed: no {', '.join(LACKING)}" if LACKING else why_not()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_arrays_lose_a_machine_and_a_task_and_make_what_one_process_makes(undisturbed: Undisturbed) -> None:
    made = (undisturbed.shards, undisturbed.model, undisturbed.index, undisturbed.curated)
    with tempfile.TemporaryDirectory(prefix="slurm") as folder:
        in_namespaces("tests.integration.slurm_cluster", "arrays", *made, folder, mark=folder)
