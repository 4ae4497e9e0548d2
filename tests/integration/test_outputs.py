"""`curate run --output`: what is left of each shard is that of whole curated shards, without their pictures."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import webdataset
from open_clip_train.data import get_wds_dataset
from PIL import Image

from files.braces import braced, expand_braces
from tests.integration.commands import SHARDS, World, cocu, digests, manifest, members_of, succeed

OPTIONS = ("--preset", "paper")


@pytest.fixture(scope="module")
def whole(index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "curated"
    succeed("curate", "run", index, "--out", out, *OPTIONS, "--write-caption", "caption")
    return out


@pytest.fixture(scope="module")
def hidden(world: World, index: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Curated while the sources were away, as what opens none of them can be."""
    folder = tmp_path_factory.mktemp("outputs")
    world.shards.rename(folder / "away")
    try:
        for output in ("sidecar", "tables"):
            succeed("curate", "run", index, "--out", folder / output, *OPTIONS, "--output", output)
        named = ("--output", "sidecar", "--write-caption", "meta.caption")
        succeed("curate", "run", index, "--out", folder / "named", *OPTIONS, *named)
    finally:
        (folder / "away").rename(world.shards)
    return {name: folder / name for name in ("sidecar", "tables", "named")}


def test_a_sidecar_has_the_concepts_alone(whole: Path, hidden: dict[str, Path]) -> None:
    for name in SHARDS:
        curated = members_of(whole / "shards" / f"{name}.tar")
        concepts = [member for member in curated if member[0].endswith(".concepts.json")]
        assert members_of(hidden["sidecar"] / "shards" / f"{name}.concepts.tar") == concepts
        enriched = {
            key[:-5]: json.loads(data)["caption"] for key, data in curated if key.count(".") == 1 and ".json" in key
        }
        named = dict(members_of(hidden["named"] / "shards" / f"{name}.concepts.tar"))
        assert {
            key[:-5]: json.loads(named.pop(key))["meta"]["caption"] for key in [*named] if key.count(".") == 1
        } == enriched
        assert list(named.items()) == concepts
    assert not (hidden["tables"] / "shards").exists()


def test_the_tables_are_the_same(whole: Path, hidden: dict[str, Path]) -> None:
    for folder in hidden.values():
        assert digests(folder, "tables") == digests(whole, "tables")


def test_a_run_goes_on_with_the_same_output_only(index: Path, hidden: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "curated"
    shutil.copytree(hidden["sidecar"], out)
    before = digests(out, "shards", "tables")
    begun = manifest(out)
    (out / "manifest.json").write_text(json.dumps(begun | {"finished": False, "shards": {}}))
    (out / "shards" / f"{SHARDS[1]}.concepts.tar").unlink()
    refused = cocu("curate", "run", index, "--out", out, *OPTIONS)
    assert refused.code == 2
    assert 'output: "sidecar" there, null now' in refused.err
    succeed("curate", "run", index, "--out", out, *OPTIONS, "--output", "sidecar")
    assert digests(out, "shards", "tables") == before


def test_a_source_that_has_changed_is_told(world: World, index: Path, tmp_path: Path) -> None:
    path = world.shards / f"{SHARDS[0]}.tar"
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(512))
    try:
        answer = cocu("curate", "run", index, "--out", tmp_path, *OPTIONS, "--output", "sidecar")
    finally:
        path.write_bytes(whole)
    assert answer.code == 1
    assert f"{path}: has {len(whole) + 512:,} bytes" in answer.err


@pytest.mark.parametrize("output", ["sidecar", "tables"])
def test_a_report_shows_pictures_of_the_source(
    output: str, world: World, hidden: dict[str, Path], tmp_path: Path
) -> None:
    pages = []
    for away in (False, True):
        if away:
            world.shards.rename(tmp_path / "away")
        try:
            succeed("curate", "report", hidden[output], "--out", tmp_path / "report.html")
        finally:
            if away:
                (tmp_path / "away").rename(world.shards)
        pages.append((tmp_path / "report.html").read_text().count("data:image/jpeg"))
    assert pages == [48, 0]


def test_what_needs_whole_shards_says_so(whole: Path, hidden: dict[str, Path], tmp_path: Path) -> None:
    for name, out in (("whole", whole), ("sidecar", hidden["sidecar"])):
        succeed("curate", "balance", out, "--out", tmp_path / f"{name}.parquet", "--cap", 3)
    assert (tmp_path / "whole.parquet").read_bytes() == (tmp_path / "sidecar.parquet").read_bytes()
    answer = cocu("curate", "balance", hidden["tables"], "--out", tmp_path / "subset", "--cap", 3)
    assert answer.code == 2
    assert "its --output is tables" in answer.err
    answer = cocu("curate", "run", tmp_path, "--out", tmp_path, "--output", "tables", "--write-caption", "caption")
    assert answer.code == 2
    assert "--write-caption" in answer.err


def tensors(batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> list[list[int]]:
    """Pictures and texts of all batches, as rows that can be compared."""
    rows = [torch.cat([pictures.flatten(1), texts], 1) for pictures, texts in batches]
    return sorted(torch.cat(rows).tolist())


def test_open_clip_reads_curated_shards(whole: Path) -> None:
    names = f"{whole}/shards/{braced(SHARDS)}.tar"

    def pixels(image: Image.Image) -> torch.Tensor:
        return torch.from_numpy(np.array(image.resize((2, 2)))).long()

    tokenizer = open_clip.get_tokenizer("ViT-B-32")
    args = SimpleNamespace(val_data=names, val_num_samples=0, batch_size=7, workers=0, world_size=1)
    loader = get_wds_dataset(args, pixels, is_train=False, tokenizer=tokenizer).dataloader
    expected = []
    for name in SHARDS:
        members = dict(members_of(whole / "shards" / f"{name}.tar"))
        for key in sorted({name.partition(".")[0] for name in members}):
            picture = pixels(Image.open(io.BytesIO(members[f"{key}.jpg"])).convert("RGB"))
            expected.append([*picture.flatten().tolist(), *tokenizer(members[f"{key}.txt"].decode())[0].tolist()])
    assert tensors(loader) == sorted(expected)
    # As versions after 3.3 read a field of the .json member (--json-text-key).
    enriched = webdataset.WebDataset(expand_braces(names), shardshuffle=False).decode().to_tuple("json")
    texts = [described["caption"] for (described,) in enriched]
    assert len(texts) == len(expected)
    assert any(", with " in text for text in texts)


def test_webdataset_reads_a_source_and_its_sidecar(
    root: Path, world: World, whole: Path, hidden: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the code of the page."""
    monkeypatch.chdir(tmp_path)
    Path("shards").symlink_to(world.shards)
    Path("curated").symlink_to(hidden["sidecar"])
    (code,) = re.findall(r"```python\n(.*?)```", (root / "docs" / "outputs.md").read_text("utf-8"), re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    found = made["beside"](made["source"], made["sidecar"])
    expected = webdataset.WebDataset(str(whole / "shards" / "00000.tar"), shardshuffle=False)
    for pair, one in zip(found, expected, strict=True):
        assert {name: pair[name] for name in ("__key__", "jpg", "txt", "concepts.json")} == {
            name: one[name] for name in ("__key__", "jpg", "txt", "concepts.json")
        }


def test_the_summary_ends_with_the_line_to_paste(
    index: Path, world: World, hidden: dict[str, Path], whole: Path
) -> None:
    for name, given in (("sidecar", ("--output", "sidecar")), ("tables", ("--output", "tables"))):
        said = succeed("curate", "run", index, "--out", hidden[name], *OPTIONS, *given).out.splitlines()[-1]
        words = shlex.split(said.removeprefix("  train with"))
        assert words[3:] == ["--data", str(world.shards), "--concepts", str(hidden[name]), "--out", "RUN"]
    *_, clip, train = succeed(
        "curate", "run", index, "--out", whole, *OPTIONS, "--write-caption", "caption"
    ).out.splitlines()
    assert f"--data {whole}/shards" in train
    assert shlex.split(clip)[-1] == "caption"
    assert expand_braces(shlex.split(clip)[7]) == [f"{whole}/shards/{name}.tar" for name in SHARDS]
