"""`cocu explore`: folders opened, the server started, and what a person should know of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from files.errors import MisuseError
from files.scratch import scratch_folder

if TYPE_CHECKING:
    from curation.encoding.model_names import EncoderSpec

_WANTED = ("starlette", "uvicorn", "python_multipart")
_EXTRA = "cocu explore needs a web server, which comes with an extra: pip install -c constraints.txt '.[explore]'"


def explore_folders(
    curated: Sequence[Path],
    index: Path | None,
    host: str,
    port: int,
    names: Sequence[str],
    judged: Path | None,
    device: str,
    encoder: EncoderSpec | None,
    ready: Callable[[str, list[str]], None],
) -> None:
    """Serve one curated folder, or two to be compared, until Ctrl-C.

    ready: called with the address when it answers, and with notes for the person. Raises MisuseError for folders that
    cannot be explored, a port that is taken, and where the packages are missing; CocuError for broken tables.
    """
    if missing := [name for name in _WANTED if find_spec(name) is None]:
        raise MisuseError(f"{_EXTRA} ({', '.join(missing)} missing)")
    from curation.curated.judgements import judged_file
    from curation.explorer.explored import Explored
    from curation.explorer.guard import is_loopback
    from curation.explorer.server import serve

    if len(curated) not in (1, 2):
        raise MisuseError(f"{len(curated)} folders: give one to explore, or two to compare")
    kept = judged_file(curated[0], judged)
    with scratch_folder("cocu-explore-") as scratch:
        opened = [Explored.opened(folder, index, kept, scratch, device, encoder) for folder in curated]
        notes = [f"{one.folder}: {one.encoder_missing}" for one in opened if one.encoder_missing]
        if not is_loopback(host):
            notes.append(f"--host {host}: everybody who reaches this address can look at the pairs, and judge them")
        serve(opened, host, port, names, lambda address: ready(address, notes))
