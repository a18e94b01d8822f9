"""The official builders: a configuration file's name and a checkpoint to a model or a video predictor."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import torch

from masklet.checkpoints import HUB_FILES, choose_device, load
from masklet.config import CONFIGS
from masklet.errors import CheckpointError, InputError, MaskletWarning
from masklet.model.compiled import compile_model, is_compiled
from masklet.model.network import Network
from masklet.sam2.overrides import RELEASED, OfficialOptions

if TYPE_CHECKING:
    from masklet.sam2.sam2_video_predictor import SAM2VideoPredictor

_SIZES = {"t": "tiny", "s": "small", "b+": "base-plus", "l": "large"}
_CONFIG_FILES = {
    f"{version}_hiera_{short}": f"{version}-{size}" for version in ("sam2", "sam2.1") for short, size in _SIZES.items()
}
"""Stem of an official configuration file -> our name of the release."""

HF_MODEL_ID_TO_FILENAMES = {
    HUB_FILES[name].repo: (f"configs/{stem.split('_', 1)[0]}/{stem}.yaml", HUB_FILES[name].file)
    for stem, name in _CONFIG_FILES.items()
}
"""Hub repository -> official configuration file and checkpoint file, as in the official module."""


class SAM2Base(Network):
    """What `build_sam2` returns: a network with the official attribute names and the official builder's switch.

    It shares the weights of the network it is made from, until one of the two is moved or cast; only `image_size` may
    differ.
    """

    def __init__(self, network: Network, options: OfficialOptions) -> None:
        size = network.config.image_size if options.image_size is None else options.image_size
        with torch.device("meta"):
            super().__init__(replace(network.config, image_size=size))
        self.load_state_dict(network.state_dict(), assign=True)
        for own, theirs in zip(self.parameters(), network.parameters(), strict=True):
            own.requires_grad_(theirs.requires_grad)
        self.train(network.training)
        chosen = options.stability_fallback
        self.stability_fallback = network.config.stability_fallback if chosen is None else chosen
        if is_compiled(network):
            compile_model(self)

    @property
    def image_size(self) -> int:
        """Side of the square picture the model sees, in pixels."""
        return self.config.image_size

    @property
    def hidden_dim(self) -> int:
        """Channels of features and object pointers."""
        return self.config.width

    @property
    def mem_dim(self) -> int:
        """Channels of memories."""
        return self.config.memory_width

    def __getattr__(self, name: str) -> Any:
        return RELEASED[name] if name in RELEASED else super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Raises `InputError` for an official attribute that would otherwise be taken and not followed."""
        if name in RELEASED and value != RELEASED[name]:
            raise InputError(f"{name} can only be {RELEASED[name]}, as in every release; got {value!r}")
        super().__setattr__(name, value)


def build_sam2(
    config_file: str | PathLike[str] | Network,
    ckpt_path: str | PathLike[str] | None = None,
    device: str | torch.device | None = None,
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    **kwargs: Any,
) -> SAM2Base:
    """Build a model for pictures.

    config_file: an official configuration file's name ("configs/sam2.1/sam2.1_hiera_t.yaml"), one of our model names
    ("nano", "sam2.1-tiny"), or a loaded model; ckpt_path: the weights, None for a model name's own, or random ones for
    a configuration file; device: None for the best there is; mode: "eval" or "train"; hydra_overrides_extra:
    `++model.key=value` strings; apply_postprocessing: let unstable single masks give way to the best of three.

    Raises `InputError` for an unknown configuration or override, `CheckpointError` and `DeviceError` as
    `masklet.load` does. Source: official `build_sam.py`.
    """
    options = OfficialOptions.from_overrides(hydra_overrides_extra, apply_postprocessing)
    return SAM2Base(load_network(config_file, ckpt_path, device), options).train(mode != "eval")


def build_sam2_video_predictor(
    config_file: str | PathLike[str] | Network,
    ckpt_path: str | PathLike[str] | None = None,
    device: str | torch.device | None = None,
    mode: str = "eval",
    hydra_overrides_extra: Sequence[str] = (),
    apply_postprocessing: bool = True,
    vos_optimized: bool = False,
    **kwargs: Any,
) -> SAM2VideoPredictor:
    """Build a predictor for video; arguments and errors as `build_sam2`, and:

    apply_postprocessing: also fill holes of up to 8 low-resolution pixels, and remember prompted masks as certain;
    vos_optimized: compile the per-frame path (slow at first; raises `DeviceError` where there is no C++ compiler).
    """
    from masklet.sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS

    options = OfficialOptions.from_overrides(hydra_overrides_extra, apply_postprocessing)
    predictor = SAM2VideoPredictorVOS if vos_optimized else SAM2VideoPredictor
    return predictor(load_network(config_file, ckpt_path, device), options).train(mode != "eval")


def build_sam2_hf(model_id: str, **kwargs: Any) -> SAM2Base:
    """`build_sam2` with configuration and weights of a hub repository such as "facebook/sam2.1-hiera-tiny"."""
    return build_sam2(_name_of_repository(model_id), **kwargs)


def build_sam2_video_predictor_hf(model_id: str, **kwargs: Any) -> SAM2VideoPredictor:
    """`build_sam2_video_predictor` with configuration and weights of a hub repository."""
    return build_sam2_video_predictor(_name_of_repository(model_id), **kwargs)


def load_network(
    config: str | PathLike[str] | Network,
    checkpoint: str | PathLike[str] | None = None,
    device: str | torch.device | None = None,
) -> Network:
    """The network that the first three arguments of an official builder mean."""
    if isinstance(config, Network):
        if checkpoint is not None:
            raise InputError(f"a network has its weights; load {checkpoint} by masklet.load, or name its configuration")
        return config if device is None else config.to(choose_device(device))
    name = _config_name(config)
    if checkpoint is None:
        return load(name, device=device) if str(config) in CONFIGS else _untrained(name, device)
    network = load(checkpoint, device=device)
    if network.config.name != name:
        raise CheckpointError(f"{checkpoint} is a {network.config.name} model, but {config} asks for {name}")
    return network


def _config_name(config: str | PathLike[str]) -> str:
    if str(config) in CONFIGS:
        return str(config)
    stem = PurePosixPath(str(config).replace("\\", "/")).name.removesuffix(".yaml")
    if stem not in _CONFIG_FILES:
        known = ", ".join([*CONFIGS, *(f"{stem}.yaml" for stem in _CONFIG_FILES)])
        raise InputError(f"unknown configuration {str(config)!r}; known are {known}")
    if os.path.isfile(config):
        warnings.warn(
            f"what {config} says is not read: it stands for {_CONFIG_FILES[stem]} as released; what is to differ goes "
            'into hydra_overrides_extra, as "++model.image_size=512" does',
            MaskletWarning,
            stacklevel=4,
        )
    return _CONFIG_FILES[stem]


def _untrained(name: str, device: str | torch.device | None) -> Network:
    """What the official builder makes of a configuration without a checkpoint: random weights, not a default file."""
    warnings.warn(f"no ckpt_path: {name} has random weights, and its masks mean nothing", MaskletWarning, stacklevel=4)
    return Network(CONFIGS[name]).to(choose_device(device)).eval()


def _name_of_repository(model_id: str) -> str:
    names = {place.repo: name for name, place in HUB_FILES.items()}
    if model_id in CONFIGS:
        return model_id
    if model_id not in names:
        raise InputError(f"unknown model {model_id!r}; known are {', '.join([*names, *CONFIGS])}")
    return names[model_id]
