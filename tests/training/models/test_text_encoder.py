import pytest
import torch

from files.errors import MisuseError
from training.models.text_encoder import TextConfig, TextEncoder, trim_padding

SMALL = TextConfig(vocabulary=50, context_length=12, width=16, layers=2, heads=2)
END = 49


def texts(*lengths: int, context: int = 12, padding: int = 0) -> torch.Tensor:
    """Random words, then the end-of-text token, then padding."""
    tokens = torch.full((len(lengths), context), padding)
    for row, length in zip(tokens, lengths, strict=True):
        row[: length - 1] = torch.randint(1, END, (length - 1,))
        row[length - 1] = END
    return tokens


def test_the_feature_is_read_at_the_end_of_text_and_padding_does_not_count() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(SMALL).double()
    padded = texts(3, 7, 5)
    together = encoder(padded)
    assert together.shape == (3, 16)
    for i, length in enumerate((3, 7, 5)):
        alone = encoder(padded[i : i + 1, :length])
        torch.testing.assert_close(together[i : i + 1], alone)


@pytest.mark.parametrize("padding", [0, END])
@pytest.mark.parametrize("count", [2, 150])
def test_leaving_out_padding_changes_no_feature_and_no_gradient(
    count: int, padding: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    encoder = TextEncoder(SMALL).double()
    tokens = texts(*torch.randint(2, 12, (count,)).tolist(), padding=padding)
    weights = torch.randn(count, 16, dtype=torch.float64)
    feature = encoder(tokens)
    (feature * weights).sum().backward()
    gradients = {name: p.grad.clone() for name, p in encoder.named_parameters() if p.grad is not None}
    assert gradients.keys() == dict(encoder.named_parameters()).keys()

    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)  # the way that keeps the padding
    encoder.zero_grad()
    padded = encoder(tokens)
    torch.testing.assert_close(padded, feature)
    (padded * weights).sum().backward()
    for name, p in encoder.named_parameters():
        torch.testing.assert_close(p.grad, gradients[name], msg=name)


def test_no_texts_give_no_features() -> None:
    assert TextEncoder(SMALL)(texts()).shape == (0, 16)


def test_reading_the_last_layer_at_the_end_alone_is_reading_it_whole() -> None:
    torch.manual_seed(6)
    encoder = TextEncoder(SMALL).double()
    tokens = texts(5, 12, 2)
    x = encoder.token_embedding(tokens) + encoder.position_embedding
    for block in encoder.blocks:
        x = block(x)
    expected = encoder.norm(x)[torch.arange(3), [4, 11, 1]]
    torch.testing.assert_close(encoder(tokens), expected)


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(MisuseError, match="width 10 cannot be divided into 4 heads"):
        TextConfig(width=10, heads=4)
    with pytest.raises(MisuseError, match=r"every size must be 1 or more.*layers=0"):
        TextConfig(layers=0)


def test_a_word_behind_changes_nothing_before_it() -> None:
    torch.manual_seed(2)
    encoder = TextEncoder(SMALL).double()
    short = texts(5)
    longer = short.clone()
    longer[0, 7] = 3
    torch.testing.assert_close(encoder(short), encoder(longer))


def test_trim_padding_keeps_the_longest_text_and_the_asked_multiple() -> None:
    tokens = texts(3, 6)
    assert trim_padding(tokens).shape == (2, 6)
    assert trim_padding(tokens, multiple=4).shape == (2, 8)
    assert trim_padding(tokens, multiple=64).shape == (2, 12)
    assert trim_padding(tokens[:0]).shape == (0, 12)
    assert trim_padding(texts(12)).shape == (1, 12)


def test_more_tokens_than_the_context_are_refused() -> None:
    with pytest.raises(ValueError, match=r"13 tokens.*context of 12"):
        TextEncoder(SMALL)(texts(13, context=13))


def test_it_compiles_whole_and_gives_the_same() -> None:
    torch.manual_seed(3)
    encoder = TextEncoder(SMALL)
    tokens = texts(3, 9)
    compiled = torch.compile(encoder, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(tokens), encoder(tokens))


def test_bfloat16_autocast_stays_close() -> None:
    torch.manual_seed(4)
    encoder = TextEncoder(SMALL)
    tokens = texts(3, 9)
    with torch.autocast("cpu", torch.bfloat16):
        half = encoder(tokens)
    torch.testing.assert_close(half, encoder(tokens), atol=0.05, rtol=0.05)
