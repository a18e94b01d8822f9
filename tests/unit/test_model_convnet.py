"""The convolutional trunk and its blocks of global attention."""

import pytest
import torch

from masklet.config import ConvNetConfig
from masklet.errors import InputError
from masklet.model.convnet import ConvNet, GlobalBlock, NormedConvs, conv_norm, relu

WIDTHS, DEPTHS = (8, 8, 16, 32), (1, 1, 1, 1)


def randomised(module):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in module.parameters():
            weight.normal_(0, 0.2, generator=generator)
    return module.eval()


def test_maps_at_four_strides():
    trunk = ConvNet(ConvNetConfig(WIDTHS, DEPTHS, global_blocks=1)).eval()
    maps = trunk(torch.randn(2, 3, 64, 96))
    assert [tuple(x.shape) for x in maps] == [(2, 8, 16, 24), (2, 8, 8, 12), (2, 16, 4, 6), (2, 32, 2, 3)]


def test_fresh_global_blocks_change_nothing_and_trained_ones_only_the_deepest_map():
    torch.manual_seed(0)
    trunk = ConvNet(ConvNetConfig(WIDTHS, DEPTHS, global_blocks=2)).eval()
    plain = ConvNet(ConvNetConfig(WIDTHS, DEPTHS)).eval()
    missing, unexpected = plain.load_state_dict(trunk.state_dict(), strict=False)
    assert not missing and all(name.startswith("global_blocks.") for name in unexpected)
    pixels = torch.randn(1, 3, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(trunk(pixels), plain(pixels)))
    randomised(trunk.global_blocks)
    *shallow, deep = (torch.equal(a, b) for a, b in zip(trunk(pixels), plain(pixels)))
    assert all(shallow) and not deep


def test_settled_norms_are_joined_with_their_convolutions_and_give_what_they_gave():
    torch.manual_seed(0)
    convs = NormedConvs(*conv_norm(3, 8, stride=2), relu(), *conv_norm(8, 4))
    for norm in (convs[1], convs[4]):
        for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
            torch.nn.init.uniform_(values, 0.5, 2)
    pixels = torch.randn(2, 3, 12, 16)
    one_by_one = torch.nn.Sequential(*convs)
    for norms_train in (False, True):
        convs.train(norms_train)
        weights = list(convs.parameters())
        statistics = [buffer.clone() for buffer in convs.buffers()]
        found = convs(pixels)
        grads = torch.autograd.grad(found.square().sum(), weights)
        convs.load_state_dict(dict(zip(dict(convs.named_buffers()), statistics)), strict=False)
        expected = one_by_one(pixels)
        assert torch.allclose(found, expected, atol=1e-5)
        for one, other in zip(grads, torch.autograd.grad(expected.square().sum(), weights)):
            assert torch.allclose(one, other, rtol=1e-3, atol=1e-3)
        moved = [not torch.equal(*pair) for pair in zip(statistics, convs.buffers())]
        assert all(moved) if norms_train else not any(moved)


def test_every_cell_of_a_global_block_sees_every_other_and_knows_where_it_is():
    block = randomised(GlobalBlock(32))
    maps = torch.randn(1, 32, 4, 5, requires_grad=True)
    block(maps)[0, :, 3, 4].sum().backward()
    assert (maps.grad.abs().sum(1) > 0).all()
    with torch.no_grad():
        mirrored = block(maps.flip(-1)).flip(-1)
        assert not torch.allclose(mirrored, block(maps), atol=1e-3)


def test_a_trunk_too_narrow_for_a_head_is_refused():
    with pytest.raises(InputError, match="multiple of 32 for global attention, not 48"):
        ConvNetConfig((8, 8, 16, 48), DEPTHS, global_blocks=1)
