"""On a GPU: what the CPU gives, within the precision of each; and runs that go on exactly. Skipped without one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.speed.tiny_pairs import write_tar
from curation.encoding.encoder import Encoder
from curation.encoding.model_names import EncoderSpec
from curation.index.neighbours import NearestRows, SearchSettings, exact_search
from tests.evaluation.tiny_checkpoints import SIZES, make_checkpoint, make_miniature
from tests.integration.commands import UNFILTERED, World, cocu, manifest, succeed, vectors
from tests.tiny_world import pair_members, picture
from tests.training.curated_world import make_curated
from tests.training.run.test_trainer import losses, recipe
from training.run.options import TrainOptions
from training.run.trainer import train
from training.shards.found import Source

GPU = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU; this machine has none")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_curated(tmp_path_factory.mktemp("data"), shards=3, pairs=20, side=20)


@pytest.fixture
def options(tmp_path: Path, data: Path) -> TrainOptions:
    return TrainOptions(tmp_path / "run", [Source((str(data),))], device=GPU, workers=0, tensorboard=False)


@pytest.mark.parametrize(("precision", "apart"), [("fp32", 2e-3), ("fp16", 1e-2), ("bf16", 4e-2)])
def test_vectors_are_those_of_the_cpu(world: World, precision: str, apart: float) -> None:
    here = Encoder(EncoderSpec(world.model, None, "fp32"), "cpu", batch_size=7)
    there = Encoder(EncoderSpec(world.model, None, precision), GPU, batch_size=7)
    pictures = [(str(seed), picture(seed)) for seed in range(20)]
    texts = ["a dog", "two people walk over a bridge in the rain", ""] * 5
    for name in ("encode_pictures", "encode_texts"):
        found, expected = (getattr(each, name)(pictures if "pic" in name else texts) for each in (there, here))
        if "pic" in name:
            found, expected = (np.stack([vector for _, vector in each]) for each in (found, expected))
        assert np.linalg.norm(found.astype(np.float32) - expected.astype(np.float32), axis=1).max() < apart


def test_an_index_and_its_curation_are_those_of_the_cpu(world: World, tmp_path: Path) -> None:
    pairs = {}
    for device in ("cpu", GPU):
        index, out = tmp_path / device / "index", tmp_path / device / "curated"
        world.build(index, "--device", device, "--precision", "fp32", "--extra-captions", world.extra, "--workers", 2)
        succeed("curate", "run", index, "--out", out, "--preset", "paper", *UNFILTERED, "--device", device)
        tables = [pq.read_table(file) for file in sorted((index / "embeddings").glob("*.parquet"))]
        pairs[device] = (
            tables,
            {
                (row["key"], row["concept"])
                for file in sorted((out / "tables" / "archives").glob("*.parquet"))
                for row in pq.read_table(file).to_pylist()
            },
        )
    (here, named_here), (there, named_there) = pairs["cpu"], pairs[GPU]
    for one, other in zip(here, there, strict=True):
        columns = ["key", "caption", "concepts"]
        assert one.select(columns).equals(other.select(columns))
        for column in ("image_vec", "text_vec"):
            if one[column].null_count < len(one):
                assert np.abs(vectors(one, column) - vectors(other, column)).max() < 2e-3
    # Ranks of random weights are near to each other, so that the last digit moves a few.
    assert len(named_here & named_there) > 0.9 * len(named_here | named_there)


def test_an_index_in_half_precision_goes_on_where_it_stopped(world: World, tmp_path: Path) -> None:
    world.build(tmp_path / "index", "--device", GPU)
    assert manifest(tmp_path / "index")["parameters"]["precision"] == "fp16"
    again = world.build(tmp_path / "index", "--device", GPU)
    assert "already finished" in again.err


@pytest.mark.parametrize("name", ["miniature", "miniature_groupvit"])
@pytest.mark.parametrize("extra", [[], ["data.micro_batch=4"], ["checkpoint_activations=true"]])
def test_losses_are_those_of_the_cpu(tmp_path: Path, options: TrainOptions, name: str, extra: list[str]) -> None:
    # GroupViT's noise and hard choices are each device's own, and batch norm of groups that hardly differ amplifies the
    # last digits: its first step alone can be compared.
    grouped = "groupvit" in name
    still = ["model.drop_path=0", *(["model.gumbel_noise=0", "model.hard_assignment=false"] if grouped else [])]
    wanted = recipe(name, "steps=6", "precision=fp32", "data.augment=none", *still, *extra)
    runs = {}
    for device in ("cpu", GPU):
        given = replace(options, run=tmp_path / device, device=device)
        train(wanted, given)
        runs[device] = losses(given.run)
    assert runs["cpu"].keys() == runs[GPU].keys()
    for step, loss in list(runs["cpu"].items())[: 1 if grouped else None]:
        assert runs[GPU][step] == pytest.approx(loss, rel=3e-2 if grouped else 2e-3), step


@pytest.mark.parametrize("name", ["miniature", "miniature_groupvit"])
@pytest.mark.parametrize("extra", [["precision=bf16"], ["precision=fp16"], ["precision=fp32", "data.micro_batch=4"]])
def test_going_on_is_exact(tmp_path: Path, options: TrainOptions, name: str, extra: list[str]) -> None:
    wanted = recipe(name, "epochs=2", "optimizer.warmup_epochs=1", "checkpoints.every_steps=4", *extra)
    undisturbed = replace(options, run=tmp_path / "undisturbed")
    train(wanted, undisturbed)
    checkpoint = undisturbed.run / "checkpoints/step-00000004"
    if not checkpoint.exists():
        checkpoint = sorted((undisturbed.run / "checkpoints").glob("step-*"))[0]
    first = int(checkpoint.name.split("-")[1])
    resumed = replace(undisturbed, run=tmp_path / "resumed", resume=str(checkpoint))
    train(wanted, resumed)
    expected = {step: loss for step, loss in losses(undisturbed.run).items() if step > first}
    assert expected
    assert losses(resumed.run) == expected


@pytest.mark.parametrize("name", ["miniature", "miniature_groupvit"])
def test_fp16_finds_its_scale_and_learns(options: TrainOptions, name: str) -> None:
    wanted = recipe(name, "steps=60", "precision=fp16", "concepts=curated-cluster", "data.augment=none")
    outcome = train(wanted, options)
    assert outcome.progress.step == 60
    assert outcome.progress.skipped < 20
    found = losses(options.run)
    assert np.mean([found[step] for step in range(51, 61)]) < np.mean([found[step] for step in range(21, 31)])


@pytest.mark.parametrize("name", ["miniature", "miniature_groupvit"])
def test_compiled_with_workers_it_learns(tmp_path: Path, options: TrainOptions, name: str) -> None:
    wanted = recipe(name, "steps=40", "concepts=curated-cluster", "data.augment=light", "optimizer.base_lr=2e-3")
    given = replace(options, run=tmp_path / "run", compile=True, workers=2)
    assert train(wanted, given).progress.step == 40
    found = losses(given.run)
    assert np.mean([found[step] for step in range(31, 41)]) < np.mean([found[step] for step in range(1, 11)])


def test_self_training_on_a_frozen_clip(tmp_path: Path, data: Path) -> None:
    settings = ("steps=3", "data.batch=8", "data.concepts_per_image=3", "precision=fp32", "log_every=1")
    for device in ("cpu", GPU):
        where = ("--out", tmp_path / device, "--device", device, "--no-tensorboard", "--workers", 0)
        succeed("train", "clip_head", *settings, "--data", data, *where)
    runs = [losses(tmp_path / device) for device in ("cpu", GPU)]
    assert runs[0].keys() == runs[1].keys()
    assert list(runs[1].values()) == pytest.approx(list(runs[0].values()), rel=1e-2)


@pytest.mark.parametrize("learner", list(SIZES))
def test_label_maps_are_those_of_the_cpu(tmp_path: Path, learner: str) -> None:
    val = make_miniature(tmp_path / "val", 13)
    command = ["eval", make_checkpoint(tmp_path / "run", learner), "--benchmark", f"miniature={val}", "--batch", 3]
    for device in ("cpu", GPU):
        succeed(*command, "--device", device, "--out", tmp_path / device, "--gallery", 1, "--precision", "fp32")
    counts = [np.load(tmp_path / device / "miniature" / "counts.npz") for device in ("cpu", GPU)]
    assert sorted(counts[0]) == sorted(counts[1])
    for name in counts[0]:
        if counts[0][name].dtype.kind not in "iuf":
            assert np.array_equal(counts[0][name], counts[1][name])
            continue
        one, other = (np.asarray(each[name], np.float64) for each in counts)
        assert np.abs(one - other).sum() <= 2e-3 * max(1.0, one.sum()), name
    found = json.loads((tmp_path / GPU / "results.json").read_text())
    assert "1 x" in str(found)


@pytest.mark.parametrize("factory", ["Flat", "IVF16,Flat", "IVF16,SQfp16", "IVF16,PQ8", "HNSW16,Flat"])
def test_neighbours_are_those_of_the_cpu(tmp_path: Path, factory: str) -> None:
    if not getattr(faiss, "get_num_gpus", int)():
        pytest.skip("FAISS was built without GPUs")
    drawn = np.random.default_rng(0).standard_normal((4000, 32)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    made = faiss.index_factory(32, factory, faiss.METRIC_INNER_PRODUCT)
    made.train(drawn)
    made.add(drawn)
    faiss.write_index(made, str(tmp_path / "index.faiss"))
    there = NearestRows(tmp_path / "index.faiss", drawn, SearchSettings(16, 4))
    here = NearestRows(tmp_path / "index.faiss", drawn, SearchSettings(16, 4), gpu=False)
    similarity, rows = there.search(drawn[:200], 8)
    expected, expected_rows = here.search(drawn[:200], 8)
    assert np.mean(rows == expected_rows) > 0.99
    assert similarity == pytest.approx(expected, abs=2e-3)
    if factory != "IVF16,PQ8" and factory != "HNSW16,Flat":
        assert similarity == pytest.approx(exact_search(drawn, drawn[:200], 8).similarity, abs=2e-3)


def test_jpegs_decoded_on_the_gpu_give_the_same_vectors_and_rejects(tmp_path: Path) -> None:
    members = [member for i in range(40) for member in pair_members(f"k{i}", i)]
    bad = {"k3.jpg": picture(3)[:300], "k4.jpg": b"none", "k5.jpg": picture(5, form="PNG"), "k7.txt": b" "}
    write_tar(tmp_path / "pairs" / "a.tar", [(name, bad.get(name, data)) for name, data in members])
    for decoder in ("cpu", "gpu"):
        options = ("--decode", decoder, "--device", GPU, "--batch-size", 16, "--workers", 2, "--min-count", 1)
        succeed("index", "build", tmp_path / "pairs", "--model", "miniature", *options, "--out", tmp_path / decoder)
    one, other = (pq.read_table(tmp_path / name / "embeddings" / "a.parquet") for name in ("cpu", "gpu"))
    assert one.select(["key", "caption", "concepts", "text_vec"]).equals(
        other.select(["key", "caption", "concepts", "text_vec"])
    )
    assert (vectors(one, "image_vec") * vectors(other, "image_vec")).sum(1).min() > 0.98
    rejects = [pq.read_table(tmp_path / name / "rejects.parquet") for name in ("cpu", "gpu")]
    assert sorted(map(str, rejects[0].to_pylist())) == sorted(map(str, rejects[1].to_pylist()))
    assert (
        "decode"
        in cocu(
            "index", "build", tmp_path / "pairs", "--model", "miniature", "--device", GPU, "--out", tmp_path / "gpu"
        ).err
    )


def test_regions_are_those_of_the_cpu(world: World, tmp_path: Path) -> None:
    world.build(tmp_path / "index", "--device", "cpu", "--precision", "fp32")
    for device in ("cpu", GPU):
        out = tmp_path / device
        succeed(
            "curate",
            "run",
            tmp_path / "index",
            "--out",
            out,
            "--localise",
            "--model",
            world.model,
            "--min-peak",
            0,
            "--device",
            device,
            *UNFILTERED,
        )
    kept = [
        {
            (row["key"], row["concept"])
            for file in (tmp_path / device / "tables/archives").glob("*")
            for row in pq.read_table(file).to_pylist()
        }
        for device in ("cpu", GPU)
    ]
    assert kept[0]
    assert len(kept[0] & kept[1]) > 0.9 * len(kept[0] | kept[1])


def test_doctor_tells_of_it() -> None:
    assert torch.cuda.get_device_name() in cocu("doctor").out
