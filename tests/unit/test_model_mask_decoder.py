"""The mask decoder's own attention for few keys, beside PyTorch's."""

import pytest
import torch
from torch.nn import functional as F

from masklet.model.mask_decoder import attend_to_few


@pytest.mark.parametrize("num_keys", [1, 9])
def test_attention_to_few_keys_is_attention(num_keys):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8, requires_grad=True) for n in (40, num_keys, num_keys))
    ours, theirs = attend_to_few(q, k, v), F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)

    gradient = torch.randn_like(ours)
    ours, theirs = (torch.autograd.grad(answer, (q, k, v), gradient) for answer in (ours, theirs))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
