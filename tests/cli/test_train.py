"""`cocu train`: arguments, messages and exit codes, in this process."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from tests.integration.commands import Answer, cocu, succeed
from tests.training.curated_world import make_curated

TINY = [
    *("model.image_size=16", "model.width=16", "model.text.width=16", "model.text.layers=1", "data.batch=8"),
    *("model.text.heads=2", "model.projection_width=16", "steps=2"),
]
GROUPS = ["model.depths=[1,1,1]", "model.group_tokens=[6,3]", "model.output_groups=[6,3]"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_curated(tmp_path_factory.mktemp("train"), shards=2, pairs=12, side=20)


def train(data: Path, out: Path, *arguments: object, recipe: str = "miniature") -> Answer:
    options = ["--device", "cpu", "--workers", 0, "--no-tensorboard"]
    return cocu("train", recipe, "--data", data, "--out", out, *options, *TINY, *arguments)


def refused(answer: Answer, *said: str) -> None:
    assert answer.code == 2, answer.err
    for text in said:
        assert text in " ".join(answer.err.replace("│", " ").split())


def test_a_run_ends_with_a_summary(tmp_path: Path, data: Path) -> None:
    answer = train(data, tmp_path / "run", "--val", data, "validation.batch=8")
    assert answer.code == 0, answer.err
    assert f"{tmp_path / 'run'}: trained 2 steps" in answer.out
    assert answer.out.splitlines()[-1].startswith(
        f"model: {tmp_path / 'run' / 'best'}, step 2, the best, validation loss"
    )
    assert "patch-alignment" in answer.err


def test_its_steps_are_logged_and_its_options_kept(tmp_path: Path, data: Path) -> None:
    log, kept = tmp_path / "log.jsonl", tmp_path / "options.yaml"
    assert train(data, tmp_path / "run", "--log-json", log, "--save-config", kept).code == 0
    events = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert (events[0]["command"], events[-1]["event"], events[-1]["exit_code"]) == ("cocu train", "ends", 0)
    assert [(one["step"], one["of"]) for one in events if one["event"] == "train"][-1] == (2, 2)
    again = cocu("train", "--config", kept, "--out", tmp_path / "again")
    assert again.code == 0, again.err
    assert (tmp_path / "again" / "best").is_dir()


def test_what_was_not_validated_is_evaluated_by_the_line_that_names_it(tmp_path: Path, data: Path) -> None:
    run = tmp_path / "run"
    answer = train(data, run)
    assert answer.out.splitlines()[-1] == f"model: {run / 'best'}, step 2, the last, not validated (--val)"
    succeed("data", "miniature", "--split", "val", "--pairs", 2, "--out", tmp_path / "val")
    given = ["--benchmark", f"miniature={tmp_path / 'val'}", "--out", tmp_path / "out", "--device", "cpu"]
    succeed("eval", run / "best", *given)
    refused(cocu("eval", run / "checkpoints" / "step-1", *given), "give one that is there: ", str(run / "best"))


def test_what_is_left_out_and_what_repeats_is_said(tmp_path: Path, data: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    with tarfile.open(data / "00000.tar") as whole, tarfile.open(broken / "0.tar", "w") as tar:
        for member in whole:  # every other picture loses its caption
            if not (member.name.endswith(".txt") and int(member.name[:-4].rpartition("/")[2][-3:]) % 2):
                tar.addfile(member, whole.extractfile(member))
    answer = train(broken, tmp_path / "run", "--val", broken)
    assert answer.code == 0, answer.err
    assert "data.batch 8 is larger than the data: pairs repeat, the first batch has 6 different ones" in answer.err
    training, validation = answer.err.splitlines()[-2:]
    assert training.startswith("left out: ")
    assert validation.startswith("validation: left out: 50.0% of the pairs read (6 of 12): no caption (6); such as 0/")


def test_a_damaged_shard_is_named_when_it_is_met_and_at_the_end(tmp_path: Path, data: Path) -> None:
    (tmp_path / "0.tar").write_bytes(b"?" * 700 + sorted(data.glob("*.tar"))[0].read_bytes())
    answer = train(tmp_path / "0.tar", tmp_path / "run", "log_every=1")
    assert answer.code == 0, answer.err
    fault = "tar broken: from byte 0 to "
    assert [line.partition(fault)[0] for line in answer.err.splitlines() if fault in line] == [
        "shard 0: ",
        "left out: shards that are empty or broken (1; what cannot be read has room for about 1 pair): 0 (",
    ]
    assert all("broken shards 1" in line for line in answer.err.splitlines() if line.startswith("step "))


def test_options_may_come_first_and_the_command_be_named(tmp_path: Path, data: Path) -> None:
    options = ["--workers", 0, "--no-tensorboard", "--data", data, "--out", tmp_path / "run"]
    succeed("train", *options, "miniature", *TINY)
    succeed("train", "run", *options, "miniature", *TINY)


def test_tensorboard_is_written_unless_told(tmp_path: Path, data: Path) -> None:
    assert train(data, tmp_path / "run", "--tensorboard", "log_every=1").code == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2]


def test_wrong_settings_are_refused_with_the_right_key(tmp_path: Path, data: Path) -> None:
    run = tmp_path / "run"
    refused(
        train(data, run, "optimizer.base_ler=1"), "unknown key optimizer.base_ler", "did you mean optimizer.base_lr?"
    )
    refused(train(data, run, "data.batch=many"), 'data.batch: "many"')
    refused(train(data, run, recipe="minature"), "did you mean miniature?")
    refused(train(data, run, "shards/00001.tar"), "give overrides as key=value")
    assert not run.exists()


def test_wrong_arguments_are_refused(tmp_path: Path, data: Path) -> None:
    run = tmp_path / "run"
    refused(cocu("train", "miniature", "--out", run), "--data")
    refused(train(tmp_path / "nothing", run), str(tmp_path / "nothing"))
    refused(train(data, run, "--data", data, "--shares", "0.5"), "give a number for each of the 2 --data")
    refused(train(data, run, "--shares", "much"), "give a number for each")
    refused(train(data, run, "--resume", tmp_path / "gone"), "gone: there is no such folder")
    refused(train(data, run, "--init", tmp_path / "gone"), "gone: there is no such folder")


def test_shards_without_concepts_are_refused_before_the_run_begins(tmp_path: Path, data: Path) -> None:
    plain = tmp_path / "plain" / "0.tar"
    plain.parent.mkdir()
    with tarfile.open(sorted(data.glob("*.tar"))[0]) as curated, tarfile.open(plain, "w") as tar:
        for member in curated:
            if not member.name.endswith(".concepts.json"):
                tar.addfile(member, curated.extractfile(member))
    for answer in (train(plain, tmp_path / "run"), train(data, tmp_path / "run", "--val", plain)):
        refused(answer, str(plain), "none of the first 12 pairs can be used", "give shards that `cocu curate run`")
    assert not (tmp_path / "run").exists()


def test_weights_and_biases_is_named_where_it_is_missing(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    refused(train(data, tmp_path / "run", "--wandb"), "wandb is not installed", "leave out --wandb")


def test_shares_of_sources_are_taken(tmp_path: Path, data: Path) -> None:
    assert train(data, tmp_path / "run", "--data", data / "00001.tar", "--shares", "0.5,0.5").code == 0


def test_a_groupvit_is_exported_for_transformers(tmp_path: Path, data: Path) -> None:
    assert train(data, tmp_path / "run", *GROUPS, recipe="miniature_groupvit").code == 0
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000002"
    answer = succeed("train", "export", checkpoint, "--out", tmp_path / "exported")
    assert "wrote" in answer.out

    import torch
    from transformers import GroupViTModel

    from training.run.checkpoint import load_learner

    theirs = GroupViTModel.from_pretrained(tmp_path / "exported").eval()
    ours, _ = load_learner(checkpoint)
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = theirs.get_image_features(pixels).pooler_output
        found = ours.project_image(ours.encode_image(pixels))
    torch.testing.assert_close(found, torch.nn.functional.normalize(expected, dim=-1), rtol=1e-4, atol=1e-5)


def test_only_a_groupvit_is_exported(tmp_path: Path, data: Path) -> None:
    assert train(data, tmp_path / "run").code == 0
    checkpoint = tmp_path / "run" / "checkpoints" / "step-00000002"
    refused(cocu("train", "export", checkpoint, "--out", tmp_path / "exported"), "holds patch-alignment")
    refused(
        cocu("train", "export", tmp_path, "--out", tmp_path / "exported"), "is no checkpoint, it has no config.yaml"
    )
