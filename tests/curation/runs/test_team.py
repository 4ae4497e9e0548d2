"""Who does shards: a process a GPU, or as many as are asked for; what does not go together is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from curation.runs import team as teams
from curation.runs.team import Team
from files.errors import MisuseError


@pytest.mark.parametrize(
    ("asked", "there", "expected"),
    [
        ({}, 1, [0]),
        ({}, 4, [0, 1, 2, 3]),
        ({"gpus": 2}, 4, [0, 1]),
        ({"gpus": 1}, 4, [0]),
        ({"processes": 1}, 4, [0]),
        ({"processes": 3}, 4, [0, 1, 2]),
        ({"processes": 5}, 2, [0, 1, 0, 1, 0]),
        ({"processes": 4, "gpus": 2}, 8, [0, 1, 0, 1]),
    ],
)
def test_gpus_are_dealt_to_processes(
    asked: dict[str, Any], there: int, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    team = Team(**asked)
    assert team.shared_gpus(there) == expected
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    crew = team.on("auto")
    assert crew.device == "cuda"
    assert (crew.gather is None) == (len(expected) == 1)


def test_a_cpu_has_one_process_or_as_many_as_are_asked_for() -> None:
    assert Team().on("cpu").gather is None
    assert Team(processes=1).on("cpu").gather is None
    assert Team(processes=2).on("cpu").gather is not None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"gpus": 3}, "--gpus 3: PyTorch sees 2"),
        ({"gpus": 2, "processes": 1}, "--processes 1 --gpus 2: each GPU needs a process"),
        ({"gpus": 0}, "--gpus 0: give a number from 1"),
        ({"processes": 0}, "--processes 0"),
        ({"engine": "slurm"}, "--engine slurm: expected one of local, ray"),
        ({"address": "10.0.0.1:6379"}, "--address 10.0.0.1:6379: .* give --engine ray"),
    ],
)
def test_what_cannot_be_had_is_refused(asked: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teams, "resolve_device", lambda device: "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(MisuseError, match=message):
        Team(**asked).on("cuda")


def test_no_gpus_on_a_cpu() -> None:
    with pytest.raises(MisuseError, match="--gpus 1: there is no GPU for it"):
        Team(gpus=1).on("cpu")


@pytest.mark.parametrize(
    ("pairs", "cores", "memory", "expected"),
    [
        (10_000_000, 2, 24e9, 1),
        (10_000_000, 3, 24e9, 1),
        (10_000_000, 4, 24e9, 2),
        (10_000_000, 64, 512e9, 32),
        (10_000_000, 64, 20e9, 4),
        (10_000_000, 64, 1e9, 1),
        (99_999, 64, 512e9, 1),
        (500_000, 64, 512e9, 10),
        (0, 0, 0.0, 1),
    ],
)
def test_arrays_have_a_process_for_two_cores_where_pairs_are_many(
    pairs: int, cores: int, memory: float, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert teams.processes_for(pairs, cores, memory) == expected
    monkeypatch.setattr(teams, "cores", lambda: cores)
    monkeypatch.setattr(teams, "memory", lambda: memory)
    for asked, shards in (({}, 1000), ({}, 3), ({"processes": 1}, 1000), ({"processes": 7}, 5)):
        crew = Team(**asked).on_arrays(pairs, shards)
        count = min(asked.get("processes", expected), shards)
        assert crew.device == "cpu"
        assert (crew.gather is None) == (count == 1)
        assert crew.gather is None or crew.gather.args == ([None] * count,)  # type: ignore[attr-defined]
