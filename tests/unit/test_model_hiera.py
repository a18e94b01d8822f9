"""Hiera's own attention for a few queries on Apple's GPUs, beside PyTorch's."""

from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional as F

from masklet.model.hiera import FEW_QUERIES, attention_for, plain_attention


@pytest.mark.parametrize("num_queries", [1, FEW_QUERIES, 40])
def test_attention_written_out_is_attention(num_queries):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8) for n in (num_queries, 9, 9))
    torch.testing.assert_close(plain_attention(q, k, v), F.scaled_dot_product_attention(q, k, v), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("device", "num_queries", "expected"),
    [
        ("mps", FEW_QUERIES, plain_attention),
        ("mps", FEW_QUERIES + 1, F.scaled_dot_product_attention),
        ("cuda", FEW_QUERIES, F.scaled_dot_product_attention),
        ("cpu", 1, F.scaled_dot_product_attention),
    ],
)
def test_attention_is_written_out_for_a_few_queries_on_apple_s_gpus_alone(device, num_queries, expected):
    queries = SimpleNamespace(device=SimpleNamespace(type=device), shape=(2, 40, num_queries, 64))
    assert attention_for(queries) is expected
