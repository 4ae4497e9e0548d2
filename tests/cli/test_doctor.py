"""`cocu doctor`: what is missing is told with what to do; it fails only where every command would."""

from __future__ import annotations

import importlib.metadata
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from cli import doctor
from cli.doctor import Checked
from cli.main import main


def run(capsys: pytest.CaptureFixture[str]) -> tuple[int | str | None, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["doctor"])
    said = capsys.readouterr()
    return end.value.code, said.out, said.err


def test_a_whole_machine_passes_without_a_word_to_the_network(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("doctor asked the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    code, out, _ = run(capsys)
    assert code == 0
    told = ("cocu", "packages", "torch", "FAISS", "spaCy", "encoder", "disk", "scratch", "memory")
    assert all(f" {name} " in out for name in told)


def test_packages_are_held_against_what_cocu_requires(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["numpy>=2", "pillow<1", "no-such-package>=3", "faiss-gpu>99", 's3fs-none>=1; extra == "s3"']
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: lines)
    found = {one.name: one for one in doctor._versions()}
    assert found["packages"].broken
    assert "no-such-package is missing" in found["packages"].found
    assert "pillow" in found["packages"].found
    assert "is not <1" in found["packages"].found
    assert not any(fine in found["packages"].found for fine in ("numpy", "faiss", "s3fs"))
    assert found["extra s3"].found == "s3fs-none is missing"
    assert "'.[s3]'" in found["extra s3"].advice
    assert not found["extra s3"].broken
    assert not found["extra gcs"].advice


@pytest.mark.parametrize("module", ["faiss", "torch", "spacy"])
def test_a_package_that_cannot_be_loaded_is_broken(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def check() -> Iterator[Checked]:
        __import__(module)
        yield Checked(module, "loaded")

    monkeypatch.setitem(sys.modules, module, None)  # import of it fails
    monkeypatch.setattr(doctor, "CHECKS", {module: check, "room": doctor._room})
    code, out, err = run(capsys)
    assert code == 1
    assert "ImportError" in out or "ModuleNotFoundError" in out
    assert f": {module};" in err
    assert "memory" in out  # the other checks are made all the same


@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_weights_are_looked_for_in_the_cache(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from_cache = huggingface_hub.try_to_load_from_cache
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda repository, name: from_cache(repository, name, str(tmp_path))
    )
    assert doctor.weights_at_hand("ViT-B-16", "openai") is None
    cached = tmp_path / "models--timm--vit_base_patch16_clip_224.openai"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc")
    (cached / "snapshots" / "abc").mkdir(parents=True)
    (cached / "snapshots" / "abc" / file).write_bytes(b"weights")
    assert doctor.weights_at_hand("ViT-B-16", "openai") == str(cached / "snapshots" / "abc" / file)


def test_little_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LITTLE_DISK", 10**18)
    monkeypatch.setattr(doctor, "LITTLE_MEMORY", 10**18)
    advice = {one.name: one.advice for one in doctor._room()}
    assert "--out" in advice["disk"]
    assert "TMPDIR" in advice["scratch"]
    assert "--batch-size" in advice["memory"]
