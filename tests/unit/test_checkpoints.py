"""Loading models: by name, from files, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from masklet import checkpoints
from masklet.checkpoints import HUB_FILES, choose_device, load, recognise, save
from masklet.config import CONFIGS, HieraConfig
from masklet.errors import CheckpointError, DeviceError, InputError, MaskletWarning, OutputError
from masklet.model.network import Network
from tiny import TINY_CONVNET, TINY_HIERA, tiny_model


def released_state(config):
    """The keys and shapes of a release, without its numbers."""
    with torch.device("meta"):
        return Network(config).state_dict()


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("config", [TINY_CONVNET, TINY_HIERA], ids=lambda config: config.name)
def test_what_is_saved_is_what_is_loaded(tmp_path, config, suffix):
    model = tiny_model(config)
    save(model, tmp_path / f"model{suffix}")
    loaded = load(tmp_path / f"model{suffix}", device="cpu")
    assert loaded.config == config
    assert not loaded.training
    for key, value in model.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key]), key


@pytest.mark.parametrize(("config", "last"), [(TINY_CONVNET, True), (TINY_HIERA, False)], ids=["convnet", "hiera"])
def test_on_a_cpu_convolutional_trunks_are_laid_out_for_speed(tmp_path, config, last):
    """Which changes neither what a model says nor what is saved of it."""
    model = tiny_model(config)
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors", device="cpu")
    kernels = [weight for weight in loaded.image_encoder.parameters() if weight.ndim == 4 and weight.shape[-1] > 1]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in kernels) == last
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(loaded.encode(pixels).stride16, model.encode(pixels).stride16, atol=1e-3)
    save(loaded, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()


def test_half_precision_files_load_as_float32(tmp_path):
    save(tiny_model(), tmp_path / "half.safetensors", dtype=torch.float16)
    loaded = load(tmp_path / "half.safetensors", device="cpu")
    assert loaded.dtype == torch.float32
    assert (tmp_path / "half.safetensors").stat().st_size < 2.2 * sum(p.numel() for p in loaded.parameters())


def test_half_precision_on_request_keeps_the_places_of_points(tmp_path):
    save(tiny_model(), tmp_path / "model.pt")
    for dtype in (torch.bfloat16, "bfloat16"):
        loaded = load(tmp_path / "model.pt", device="cpu", dtype=dtype)
        assert loaded.dtype == torch.bfloat16
        assert_places_are_kept(loaded)
    loaded = load(tmp_path / "model.pt", device="cpu")
    assert_places_are_kept(loaded.to(torch.bfloat16))
    assert_places_are_kept(loaded.half().to(torch.bfloat16).float())


def assert_places_are_kept(model):
    (saved, here) = (
        network.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix for network in (tiny_model(), model)
    )
    assert here.dtype == torch.float32
    assert torch.equal(here, saved)


@pytest.mark.parametrize("dtype", [torch.int8, "half", "torch.float64"])
def test_a_model_computes_in_nothing_but_floating_point_of_three_kinds(tmp_path, dtype):
    save(tiny_model(), tmp_path / "model.pt")
    with pytest.raises(InputError, match=rf"float32, bfloat16 or float16, not in {dtype}"):
        load(tmp_path / "model.pt", device="cpu", dtype=dtype)


@pytest.mark.parametrize("name", ["model.onnx", "model", "model.bin"])
def test_a_model_is_written_as_what_can_be_read_again(tmp_path, name):
    with pytest.raises(OutputError, match=rf"ends in \.safetensors or \.pt; got '{name}'"):
        save(tiny_model(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_image_size_is_changed_on_loading(tmp_path):
    save(tiny_model(), tmp_path / "model.pt")
    assert load(tmp_path / "model.pt", device="cpu", image_size=96).config == replace(TINY_CONVNET, image_size=96)
    with pytest.raises(InputError, match="multiple of 32, not 100"):
        load(tmp_path / "model.pt", device="cpu", image_size=100)


@pytest.mark.parametrize("name", list(HUB_FILES))
def test_releases_are_recognised_by_their_weights(name):
    assert recognise(released_state(CONFIGS[name]), "a file") == CONFIGS[name]


def test_an_unknown_trunk_is_named():
    config = replace(CONFIGS["sam2.1-tiny"], trunk=HieraConfig(96, 1, (1, 2, 3, 2), (4,)))
    with pytest.raises(CheckpointError, match="width 96 with 8 blocks"):
        recognise(released_state(config), "a file")


def test_keys_that_do_not_fit_are_named(tmp_path):
    model = tiny_model()
    state = model.state_dict()
    del state["no_obj_ptr"]
    state["surplus"] = torch.zeros(1)
    state["no_mem_embed"] = torch.zeros(1, 1, 7)
    text = checkpoints.config_to_json(model.config)
    torch.save({"model": state, checkpoints.CONFIG_KEY: text}, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "odd.pt", device="cpu")
    assert "missing no_obj_ptr" in str(caught.value)
    assert "unexpected surplus" in str(caught.value)
    assert "no_mem_embed is (1, 1, 7), should be (1, 1, 64)" in str(caught.value)


def test_another_model_altogether(tmp_path):
    torch.save({"model": {"layer1.weight": torch.zeros(2)}}, tmp_path / "resnet.pt")
    with pytest.raises(CheckpointError, match="not a SAM 2 checkpoint.*layer1.weight"):
        load(tmp_path / "resnet.pt", device="cpu")


class Trap:
    """Unpickling it would run a command."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('ran')",))


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path):
    torch.save({"model": Trap()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="refused"):
        load(tmp_path / "evil.pt", device="cpu")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_truncated_files_are_damaged(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    save(tiny_model(), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match=r"damaged"):
        load(path, device="cpu")


def test_a_file_that_is_no_checkpoint(tmp_path):
    (tmp_path / "notes.pt").write_text("hello")
    with pytest.raises(CheckpointError, match="notes.pt"):
        load(tmp_path / "notes.pt", device="cpu")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="holds no weights"):
        load(tmp_path / "list.pt", device="cpu")


def test_an_unreadable_configuration(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", metadata={checkpoints.CONFIG_KEY: json.dumps({})})
    with pytest.raises(CheckpointError, match="configuration this version cannot read"):
        load(tmp_path / "x.safetensors", device="cpu")


def test_unknown_names_and_missing_files():
    with pytest.raises(CheckpointError, match=r"unknown model 'sam3'.*nano.*sam2.1-tiny"):
        load("sam3")
    with pytest.raises(CheckpointError, match="no checkpoint at nowhere/model.pt"):
        load("nowhere/model.pt")


class ProxyError(Exception):
    """As the HTTP libraries' own errors, which are no `OSError`."""


@pytest.mark.parametrize("error", [ConnectionError("no route"), ProxyError("502")])
def test_offline_names_the_file_its_address_and_what_to_do(monkeypatch, error):
    def no_network(*args, **kwargs):
        raise error

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", no_network)
    with pytest.raises(CheckpointError) as caught:
        load("sam2.1-base-plus", device="cpu")
    message = str(caught.value)
    assert "https://huggingface.co/facebook/sam2.1-hiera-base-plus/resolve/main/sam2.1_hiera_base_plus.pt" in message
    assert "give its path instead" in message
    assert str(error) in message


def test_a_name_is_fetched_into_the_hub_cache_once(monkeypatch, tmp_path):
    path = tmp_path / "sam2_hiera_tiny.pt"
    save(tiny_model(), path)
    asked = []

    def download(repo, file):
        asked.append((repo, file))
        return str(path)

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert load("sam2-tiny", device="cpu").config == TINY_CONVNET
    assert asked == [("facebook/sam2-hiera-tiny", "sam2_hiera_tiny.pt")]
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args: str(path))
    load("sam2-tiny", device="cpu")
    assert len(asked) == 1


def test_an_absent_device_is_an_error():
    assert choose_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="'cuda' is not available here"):
            choose_device("cuda")
    with pytest.raises(DeviceError, match="'toaster'"):
        choose_device("toaster")


def test_a_gpu_that_cannot_compute_is_passed_over_with_a_word_unless_it_was_named(monkeypatch):
    def without_kernels(*shape, device):
        if torch.device(device).type == "cuda":
            raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")
        return torch.ones(*shape)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", without_kernels)
    with pytest.warns(MaskletWarning, match="going on without CUDA, which fails: CUDA error: no kernel image"):
        assert choose_device().type == "cpu"
    with pytest.raises(DeviceError, match=r"'cuda' is not available here \(CUDA error"):
        choose_device("cuda")


def test_nothing_stays_mapped_from_a_file_that_was_loaded(tmp_path):
    """Windows neither replaces nor deletes one that is."""
    path = tmp_path / "model.safetensors"
    save(tiny_model(), path)
    model = load(path, device="cpu")
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("what a process maps is known on Linux")
    assert path.name not in maps.read_text()
    save(model, path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_model_is_saved_whole_or_not_at_all(tmp_path, suffix):
    with pytest.raises(OutputError, match="cannot write"):
        save(tiny_model(), tmp_path / "nowhere" / f"model{suffix}")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        save(tiny_model(), tmp_path / "file" / f"model{suffix}")
    path = tmp_path / f"model{suffix}"
    path.mkdir()
    with pytest.raises(OutputError, match="cannot write"):
        save(tiny_model(), path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", path.name]


def test_the_state_of_a_run_is_told_from_a_model(tmp_path):
    torch.save({"step": 3, "model": {"a": torch.zeros(1)}, "optimiser": {}}, tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match=r"is the state of a training run; .* masklet train export"):
        load(tmp_path / "state.pt")


def test_weights_of_nano_are_known_without_their_configuration(tmp_path):
    torch.save({"model": load("nano", device="cpu").state_dict()}, tmp_path / "own.pt")
    assert load(tmp_path / "own.pt", device="cpu").config == CONFIGS["nano"]
    torch.save({"model": tiny_model(TINY_CONVNET).state_dict()}, tmp_path / "tiny.pt")
    with pytest.raises(CheckpointError, match=r"masklet\.save writes a model of one's own with its architecture"):
        load(tmp_path / "tiny.pt")


def test_a_model_and_its_file_in_the_wrong_order_are_named(tmp_path):
    with pytest.raises(InputError, match="a model is needed, not its name"):
        save(tmp_path / "own.pt", tiny_model())
