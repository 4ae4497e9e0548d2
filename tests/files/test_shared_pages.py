"""Memory that processes share: what one writes another reads, and /dev/shm is left alone."""

from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from files import shared_pages
from files.shared_pages import SharedPages, kept
from files.workers import begin


def answer(pages: SharedPages, end: Connection) -> None:
    found = bytes(pages.bytes[:5])
    pages.bytes[5:10] = found[::-1]
    end.send(len(pages.bytes))


@pytest.mark.parametrize("memory_file", [True, False])
def test_both_processes_see_it(memory_file: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not memory_file:
        monkeypatch.delattr(shared_pages.os, "memfd_create")
    before = {path.name for path in Path("/dev/shm").iterdir()}
    pages = SharedPages(100_000)
    after = {path.name for path in Path("/dev/shm").iterdir()}
    assert not [name for name in after - before if "cocu" in name]
    pages.bytes[:5] = b"pages"
    here, there = get_context("spawn").Pipe(duplex=False)
    process = begin(answer, pages, there)
    assert here.recv() == 100_000
    process.join()
    assert bytes(pages.bytes[:11]) == b"pagessegap\0"


def test_bytes_are_kept_as_they_are() -> None:
    assert kept(b"pages").bytes[:] == b"pages"
