import pytest
import torch
from torch import Tensor

from training.models.transformer import Attention, attend, quick_gelu


def attended_by_hand(query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
    """[B, M, heads, d] over [B, N, heads, d], one head and query at a time."""
    out = torch.zeros(*query.shape[:2], query.shape[2] * query.shape[3], dtype=query.dtype)
    for b in range(len(query)):
        for m in range(query.shape[1]):
            heads = []
            for h in range(query.shape[2]):
                keys = [n for n in range(key.shape[1]) if seen[b, m, n]]
                scores = torch.stack([query[b, m, h] @ key[b, n, h] for n in keys]) / query.shape[-1] ** 0.5
                heads.append((scores.softmax(0)[:, None] * value[b, keys, h]).sum(0))
            out[b, m] = torch.cat(heads)
    return out


@pytest.mark.parametrize("kind", ["all", "causal", "masked"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_attention_by_hand(kind: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 5, 3, 8, dtype=dtype) for _ in range(3))
    seen = torch.ones(2, 5, 5, dtype=torch.bool)
    if kind == "causal":
        seen = seen.tril()
    if kind == "masked":
        seen = (torch.rand(2, 5, 5) < 0.5) | torch.eye(5, dtype=torch.bool)
    found = attend(query, key, value, causal=kind == "causal", seen=seen[:, None] if kind == "masked" else None)
    expected = attended_by_hand(query.double(), key.double(), value.double(), seen)
    tolerance = 1e-9 if dtype == torch.float64 else 0.03
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def test_causal_attention_at_one_token_is_that_of_the_whole() -> None:
    torch.manual_seed(1)
    attention = Attention(16, 2, causal=True).double()
    x, place = torch.randn(4, 7, 16, dtype=torch.float64), torch.tensor([0, 6, 3, 2])
    torch.testing.assert_close(attention.at(x, place), attention(x)[torch.arange(4), place])


def test_quick_gelu_and_its_gradient() -> None:
    x = torch.linspace(-6, 6, 50, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(quick_gelu(x), x * torch.sigmoid(1.702 * x))
    assert torch.autograd.gradcheck(quick_gelu, x)
