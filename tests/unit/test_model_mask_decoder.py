"""The mask decoder's own attention for few keys, beside PyTorch's, and how stable it takes masks to be."""

import pytest
import torch
from torch.nn import functional as F

from masklet.model.mask_decoder import attend_to_few, stability


@pytest.mark.parametrize("num_keys", [1, 9])
def test_attention_to_few_keys_is_attention(num_keys):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, n, 8, requires_grad=True) for n in (40, num_keys, num_keys))
    ours, theirs = attend_to_few(q, k, v), F.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)

    gradient = torch.randn_like(ours)
    ours, theirs = (torch.autograd.grad(answer, (q, k, v), gradient) for answer in (ours, theirs))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_stability_is_an_iou_and_an_empty_mask_is_stable():
    unsure = torch.tensor([[9.0, 0.0], [0.0, -9.0]])
    masks = torch.stack([torch.full((2, 2), -9.0), torch.full((2, 2), 9.0), unsure])
    assert stability(masks, 0.05).tolist() == [1, 1, pytest.approx(1 / 3)]
