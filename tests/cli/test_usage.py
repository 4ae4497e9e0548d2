"""What the command line refuses, in a line that names the option, the value and what can be given."""

from __future__ import annotations

import pytest

from tests.integration.commands import cocu

EVAL = ["eval", "m", "--benchmark", "a=b", "--out", "o"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*EVAL, "--precision", "fp99"], "--precision fp99: expected one of fp32, bf16; did you mean fp32?"),
        ([*EVAL, "--device", "tpu"], "--device tpu: expected one of auto, cpu, cuda; did you mean cpu?"),
        (["index", "search", "x", "y", "--top", "0"], "--top 0: give a whole number from 1"),
        (["index", "search", "x", "y", "-k", "many"], "--top many: give a whole number from 1"),
        (["index", "build", "x", "--out", "o", "--max-rejects", "2"], "--max-rejects 2: give a number from 0 to 1"),
        (["curate", "run", "x", "--out", "o", "--min-score", "low"], "--min-score low: give a number"),
        (["curate", "run", "--out", "o"], "INDEX: is missing; cocu curate run -h shows what it takes"),
        (["train", "miniature", "--data", "d"], "--out: is missing; cocu train -h shows what it takes"),
        (["curate", "balance", "x", "--out", "o", "--concepts", "all"], "--concepts all: expected one of shown, "),
        (["index", "serach"], "no such command 'serach'. Did you mean 'search'?; cocu index -h shows what it takes"),
        (["index", "search", "x", "y", "--tob", "1"], "no such option: --tob; did you mean --top?; cocu"),
        (["index", "search", "x", "y", "z"], "got unexpected extra argument"),
        (["index", "search", "x", "--top"], "option '--top' requires an argument"),
        (["curate", "score", "x", "--top", "one"], "--top 'one': give whole numbers with commas between"),
        (["nonsense"], "no such command 'nonsense'; cocu -h shows what it takes"),
        (["--nonsense"], "no such option: --nonsense"),
        (["curate", "run", "x", "--out", "o", "--preset", "papr"], "--preset 'papr': expected one of default, paper"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong(words: list[str], said: str) -> None:
    answer = cocu(*words)
    assert answer.code == 2
    assert answer.err.startswith(f"error: {said}")
    assert len(answer.err.splitlines()) == 1, answer.err


def test_an_evil_value_cannot_command_the_terminal() -> None:
    answer = cocu(*EVAL, "--precision", "\x1b[31m\r\nfp32")
    assert answer.code == 2
    assert "\x1b" not in answer.err
    assert len(answer.err.splitlines()) == 1
