"""Built once for all whole-command tests: the world, an index of it, and one curation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.commands import World, make_world, succeed
from tests.integration.faults import Undisturbed, WarmCommand, make_undisturbed


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def index(world: World) -> Path:
    world.build(world.folder / "index", "--extra-captions", world.extra)
    return world.folder / "index"


@pytest.fixture(scope="session")
def curated(world: World, index: Path) -> Path:
    succeed("curate", "run", index, "--out", world.folder / "curated", "--neighbours", 8)
    return world.folder / "curated"


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What runs with faults are compared with."""
    return make_undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="session")
def warm() -> Iterator[WarmCommand]:
    """The command in processes that have its libraries loaded."""
    with WarmCommand() as command:
        yield command
