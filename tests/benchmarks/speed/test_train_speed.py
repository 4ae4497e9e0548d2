import pytest
import torch

from benchmarks.speed import train_speed
from benchmarks.speed.train_speed import PARTS, PeerLearner, TimedStep, check_agreement, config_of, make_batch
from training.models.groupvit import GroupViT


def test_it_prints_every_part_with_the_ratio_to_the_peer(capsys: pytest.CaptureFixture[str]) -> None:
    ratio = train_speed.main(["--size", "tiny", "--batch", "3", "--repeats", "1", "--concepts", "1"])
    printed = capsys.readouterr().out
    assert "GroupViT tiny, 3 pairs with 1 concepts, fp32" in printed
    for part in [*PARTS, "whole step"]:
        assert f"| {part}" in printed
    assert f"{ratio:.2f} |" in printed.splitlines()[-1]


def test_a_peer_that_computes_something_else_is_found_out() -> None:
    torch.manual_seed(0)
    ours = GroupViT(config_of("tiny"))
    batch = make_batch(ours.config, 3, 2, "cpu")
    peer = PeerLearner(ours)
    check_agreement([TimedStep(ours, batch, "fp32", False), TimedStep(peer, batch.cut(), "fp32", False)])
    with torch.no_grad():
        peer.model.text_projection[3].weight.mul_(torch.randn(64, 1))
    with pytest.raises(ArithmeticError, match="do not compute the same"):
        check_agreement([TimedStep(ours, batch, "fp32", False), TimedStep(peer, batch, "fp32", False)])


def test_texts_have_the_lengths_of_captions_and_prompts() -> None:
    torch.manual_seed(0)
    batch = make_batch(config_of("small"), 200, 3, "cpu")
    lengths = batch.texts.argmax(dim=1) + 1
    assert batch.texts.shape == (800, 77)
    assert lengths[:200].float().median() == pytest.approx(13, abs=1)
    assert set(lengths[200:].tolist()) == set(range(7, 13))
    assert batch.cut().texts.shape[1] == lengths.max()
