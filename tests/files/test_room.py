from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from files.room import Room


def test_no_more_is_taken_than_there_is() -> None:
    room, lock, now, most = Room(10), threading.Lock(), 0, 0

    def use(need: int) -> None:
        nonlocal now, most
        with room.taken(need):
            with lock:
                now += min(need, 10)
                most = max(most, now)
            time.sleep(0.001)
            with lock:
                now -= min(need, 10)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, [1, 3, 12, 10, 2, 5, 400, 0] * 20))
    assert 3 <= most <= 10
    assert now == 0


def test_room_is_given_back_after_an_error() -> None:
    room = Room(10)
    for need in (7, 100):
        with pytest.raises(ValueError, match="bad"), room.taken(need):
            raise ValueError("bad")
    with room.taken(10):
        pass


def test_of_several_processes_one_holds_more_than_its_part() -> None:
    lone = multiprocessing.Lock()
    one, other = Room(100), Room(100)
    for room in (one, other):
        room.share(4, lone)
        assert room.size == 25
    with one.taken(60), other.taken(25):
        assert not lone.acquire(block=False)
    assert lone.acquire(block=False)
