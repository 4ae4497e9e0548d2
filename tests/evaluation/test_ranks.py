"""Processes of an evaluation that this one begins: they know each other, and an error or a death of one is told."""

from __future__ import annotations

import os
import signal
from functools import partial

import pytest
import torch

from evaluation.ranks import by_ranks, wanted_ranks
from files.errors import CocuError, MisuseError
from tests.integration.processes import Children
from training.processes import joined, of_all


def work(fails: str = "") -> list[str]:
    with joined("cpu") as place:
        if place.rank == 1:
            if fails == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            if fails == "wrong":
                raise MisuseError("that is wrong")
            if fails == "broken":
                raise ZeroDivisionError("a bug")
        return of_all(f"{place.rank} of {place.world}", place)


def test_ranks_know_each_other(children: Children) -> None:
    assert by_ranks(2, work) == ["0 of 2", "1 of 2"]
    assert by_ranks(1, work) == ["0 of 1"]
    assert not children()


@pytest.mark.parametrize(
    ("fails", "error", "message"),
    [
        ("dies", CocuError, r"process 2 of 2 died.*--gpus"),
        ("wrong", MisuseError, "that is wrong"),
        ("broken", ZeroDivisionError, "a bug"),
    ],
)
def test_an_error_of_one_ends_all(fails: str, error: type[Exception], message: str, children: Children) -> None:
    with pytest.raises(error, match=message):
        by_ranks(2, partial(work, fails))
    assert not children()


def test_a_process_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wanted_ranks("cpu", None) == 1
    with pytest.raises(MisuseError, match="--gpus 1: PyTorch sees 0 on this machine, with --device cpu"):
        wanted_ranks("cpu", 1)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [wanted_ranks("auto", asked) for asked in (None, 1, 3)] == [4, 1, 3]
    with pytest.raises(MisuseError, match="--gpus 5: PyTorch sees 4"):
        wanted_ranks("cuda", 5)
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert wanted_ranks("auto", None) == 1
    with pytest.raises(MisuseError, match="torchrun begins the processes"):
        wanted_ranks("auto", 2)
