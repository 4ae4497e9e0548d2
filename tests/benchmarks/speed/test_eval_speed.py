import pytest
import torch

from benchmarks.speed import eval_speed
from benchmarks.speed.eval_speed import Ours, PeerSegmenter, check_agreement
from benchmarks.speed.train_speed import config_of
from data_cards.cards import Window, read_card
from evaluation.models.segmenters import learner_segmenter
from training.models.groupvit import GroupViT


def test_it_prints_pictures_per_second_with_the_ratio_to_both_peers(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--size", "tiny", "--window", "64", "--pictures", "2", "--repeats", "1", "--card", "voc2012"]
    ratio = eval_speed.main(options)
    printed = capsys.readouterr().out
    assert "GroupViT tiny, fp32, 2 pictures in 4 windows of 64, 8 at once, 20 classes; CPU" in printed
    for line in ("pictures per second", "milliseconds of a picture", "of them windows through the model"):
        assert f"| {line}" in printed
    assert f"{ratio:.2f} |" in printed.splitlines()[-1]


def test_a_peer_that_computes_something_else_is_found_out() -> None:
    torch.manual_seed(0)
    learner = GroupViT(config_of("tiny")).eval()
    card = read_card("voc2012").model_copy(update={"window": Window(size=64, stride=32)})
    ours = Ours(learner_segmenter(learner, "random"), card, 8)
    peer = PeerSegmenter(learner, ours)
    check_agreement(ours, peer)
    with torch.no_grad():
        peer.model.visual_projection[3].weight.mul_(torch.randn(64, 1))
    with pytest.raises(ArithmeticError, match="do not compute the same"):
        check_agreement(ours, peer)
