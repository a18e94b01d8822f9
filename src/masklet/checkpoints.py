"""Names, addresses and files of models: from a name or a path to a network with every weight in place.

A checkpoint is a file format: Meta's `.pt` files (`{"model": state}`) and safetensors with the same keys. The
architecture is read off the weights, so a fine-tuned file needs no name that tells it.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from masklet.config import CONFIGS, ConvNetConfig, HieraConfig, ModelConfig
from masklet.errors import CheckpointError, DeviceError, InputError, MaskletWarning, MissingCheckpoint, OutputError
from masklet.model.network import Network, expect_model

if TYPE_CHECKING:
    from os import PathLike

PICKLE_STARTS = (b"PK", b"\x80")
"""What files of `torch.save` begin with: a zip archive or, before 2020, a pickle."""

DEFAULT_MODEL = "nano"
CONFIG_KEY = "masklet_config"
"""Where a file of our own says its configuration: safetensors metadata, or beside "model" in a `.pt` file."""


@dataclass(frozen=True)
class HubFile:
    """Where a released checkpoint lies on the Hugging Face hub."""

    repo: str
    file: str

    @property
    def url(self) -> str:
        """The address to fetch by hand."""
        return f"https://huggingface.co/{self.repo}/resolve/main/{self.file}"


def _released(version: str, size: str, short: str) -> HubFile:
    return HubFile(f"facebook/{version}-hiera-{size}", f"{version}_hiera_{short}.pt")


HUB_FILES: dict[str, HubFile] = {
    f"{version}-{size}": _released(version, size, short)
    for version in ("sam2.1", "sam2")
    for size, short in (("tiny", "tiny"), ("small", "small"), ("base-plus", "base_plus"), ("large", "large"))
}
"""Our names of the eight releases and where they are kept."""

BUNDLED_FILES: dict[str, str] = {"nano": "nano.safetensors"}
"""Models whose weights ship inside the package."""


def load(
    name_or_path: str | PathLike[str] = DEFAULT_MODEL,
    device: str | torch.device | None = None,
    dtype: torch.dtype | str | None = None,
    image_size: int | None = None,
) -> Network:
    """Load a model, ready for prediction.

    name_or_path: a name from `masklet models` ("nano", "sam2.1-tiny", ...), or a `.pt` or `.safetensors` file;
    device: "cpu", "cuda", "mps", ..., None for CUDA where it is there, otherwise the CPU; dtype: of the weights, by
    which the model computes, torch.float32, bfloat16 or float16 or their names, None for float32; image_size: side of
    the square picture the model sees, a multiple of 32, None for the model's own.

    Raises `CheckpointError` for a file that is missing, damaged, unsafe or of another architecture, `DeviceError` for a
    device this machine lacks, `InputError` for a bad image size or dtype.
    """
    weights_dtype = _dtype(dtype)
    target = choose_device(device)
    path = find_checkpoint(name_or_path)
    state, config = read_checkpoint(path)
    if config is None:
        config = recognise(state, path, hint=str(name_or_path))
    if image_size is not None:
        config = replace(config, image_size=image_size)
    model = build(config, state, path)
    model.to(device=target, dtype=weights_dtype)
    if target.type == "cpu":
        _let_the_heap_stay()
        if config.trunk.kind == "convnet":
            # Convolutions on a CPU are quicker so: a frame takes a tenth less.
            model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model.eval()


def _dtype(dtype: torch.dtype | str | None) -> torch.dtype:
    for known in (torch.float32, torch.bfloat16, torch.float16):
        if dtype in (known, str(known).removeprefix("torch.")):
            return known
    if dtype is None:
        return torch.float32
    raise InputError(f"a model computes in float32, bfloat16 or float16, not in {dtype}")


def _let_the_heap_stay() -> None:
    """Have glibc keep what a small model's frame frees, up to 62 MB, for the next frame.

    Else it gives the top of its heap back to the system after a frame and fetches it anew, page by page, for the next,
    which is a twentieth of `nano`'s time. How much it keeps it learns from the largest block that was freed, up to 32
    MB (mallopt(3), on M_MMAP_THRESHOLD); without glibc this does nothing.
    """
    torch.empty(31 << 20, dtype=torch.uint8, device="cpu")


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """The named device, or CUDA where it is there, otherwise the CPU: Apple's MPS has not been tried.

    Warns of a GPU that this PyTorch has no kernels for, and goes on without. Raises `DeviceError`.
    """
    if device is None:
        if torch.cuda.is_available():
            try:
                return _tried(torch.device("cuda"))
            except RuntimeError as error:
                if "no kernel image" not in str(error):  # as for a card that is too old
                    raise DeviceError(f"CUDA is there and fails ({_first_line(error)}); 'cpu' always works") from error
                warnings.warn(f"going on without CUDA, which fails: {_first_line(error)}", MaskletWarning, stacklevel=3)
        return torch.device("cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"unknown device {str(device)!r}; there are cpu, cuda (or cuda:1, ...) and mps") from error
    try:
        return _tried(chosen)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        reason = str(error).splitlines()[0]
        message = f"device {str(device)!r} is not available here ({reason}); 'cpu' always is"
        raise DeviceError(message) from error


def _tried(device: torch.device) -> torch.device:
    """The device, once it has computed something. Raises what PyTorch does where it cannot."""
    torch.zeros(1, device=device).add_(1).to(torch.bfloat16)  # as memories are kept, and macOS 13 cannot
    return device


def find_checkpoint(name_or_path: str | PathLike[str]) -> Path:
    """The local file of a model, fetched into the hub's cache first where that is needed. Raises `CheckpointError`."""
    name = str(name_or_path)
    if name in BUNDLED_FILES:
        return _bundled(name)
    if name in HUB_FILES:
        return _fetch(name, HUB_FILES[name])
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; give the checkpoint in it, such as {path / 'model.safetensors'}")
    if path.suffix in (".pt", ".pth", ".safetensors") or path.parent != Path("."):
        raise MissingCheckpoint(f"no checkpoint at {path}")
    raise CheckpointError(f"unknown model {name!r}; known are {', '.join(CONFIGS)}, or give a .pt or .safetensors file")


def _bundled(name: str) -> Path:
    path = Path(str(resources.files("masklet") / "weights" / BUNDLED_FILES[name]))
    if not path.is_file():
        raise CheckpointError(f"the weights of {name!r} should ship with masklet at {path}; install masklet again")
    return path


def _fetch(name: str, place: HubFile) -> Path:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(place.repo, place.file)
    if isinstance(cached, str):
        return Path(cached)
    try:
        return Path(hf_hub_download(place.repo, place.file))
    except Exception as error:  # the hub's own errors, and those of whichever HTTP library its version is built on
        raise CheckpointError(
            f"{name} is not on this machine and could not be fetched ({_first_line(error)}). On a machine with a "
            f"network get {place.url}, copy {place.file} here, and give its path instead of the name: "
            f'masklet.load("path/to/{place.file}"), or --model path/to/{place.file}'
        ) from error


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], ModelConfig | None]:
    """The weights in a file, and its configuration if it says so. Raises `CheckpointError`."""
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], ModelConfig | None]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            # Copies: Windows neither replaces nor deletes a file while something is mapped from it.
            state = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118 - not a mapping
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is damaged or not a safetensors file ({error}); fetch it again") from error
    text = metadata.get(CONFIG_KEY)
    return state, config_from_json(text, path) if text else None


def _read_pickle(path: Path) -> tuple[dict[str, Tensor], ModelConfig | None]:
    try:
        with open(path, "rb") as file:
            if not file.read(2).startswith(PICKLE_STARTS):
                raise CheckpointError(f"{path} is no checkpoint: neither .safetensors nor what torch.save writes")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} was refused: it is damaged, or it holds code and not only weights") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError) as error:  # by what the bytes look like
        message = f"{path} is damaged or not a checkpoint ({_first_line(error)}); fetch it again"
        raise CheckpointError(message) from error
    if isinstance(content, Mapping) and "optimiser" in content:
        raise CheckpointError(
            f"{path} is the state of a training run; take the run's model.safetensors, or write one as far as it has "
            f"come: masklet train export {path.parent} model.safetensors"
        )
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path} holds no weights: expected a dict of tensors, or one under the key 'model'")
    text = content.get(CONFIG_KEY)
    return dict(state), config_from_json(text, path) if isinstance(text, str) else None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def build(config: ModelConfig, state: Mapping[str, Tensor], source: Path | str) -> Network:
    """A network with exactly these weights. Raises `CheckpointError` naming the first keys that do not fit."""
    with torch.device("meta"):
        model = Network(config)
    expected = model.state_dict()
    problems = [f"missing {key}" for key in expected if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in expected]
    problems += [
        f"{key} is {tuple(state[key].shape)}, should be {tuple(value.shape)}"
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{source} does not fit {config.name}: {'; '.join(problems[:3])}{more}")
    # BatchNorm's step counters stay whole numbers.
    floats = {key: value.float() if value.is_floating_point() else value for key, value in state.items()}
    model.load_state_dict(floats, strict=True, assign=True)
    return model.requires_grad_(True)


def recognise(state: Mapping[str, Tensor], source: Path | str, hint: str = "") -> ModelConfig:
    """The configuration that the shapes of a file belong to. Raises `CheckpointError`.

    SAM 2 and SAM 2.1 differ by two keys. Sizes differ by the trunk's width and number of blocks.
    """
    patch = state.get("image_encoder.trunk.patch_embed.proj.weight")
    if patch is None:
        if (own := _recognise_convolutional(state)) is not None:
            return own
        raise CheckpointError(
            f"{source} is not a SAM 2 checkpoint: it has no image_encoder.trunk.patch_embed.proj.weight, "
            f"its first key is {next(iter(state))!r}; masklet.save writes a model of one's own with its architecture"
        )
    signed_time = "no_obj_embed_spatial" in state
    blocks = {int(found[1]) for key in state if (found := re.match(r"image_encoder\.trunk\.blocks\.(\d+)\.", key))}
    for config in CONFIGS.values():
        trunk = config.trunk
        if (
            isinstance(trunk, HieraConfig)
            and (trunk.embed_dim, sum(trunk.stages)) == (len(patch), len(blocks))
            and config.signed_pointer_time == signed_time
        ):
            return config
    raise CheckpointError(
        f"{source} is of no known architecture: a trunk of width {len(patch)} with {len(blocks)} blocks"
        + (f" (asked for as {hint!r})" if hint else "")
    )


def _recognise_convolutional(state: Mapping[str, Tensor]) -> ModelConfig | None:
    """The configuration whose weights, all of them, are called and shaped as these."""
    shapes = {name: weight.shape for name, weight in state.items()}
    for config in CONFIGS.values():
        if isinstance(config.trunk, ConvNetConfig):
            with torch.device("meta"):
                network = Network(config)
            if shapes == {name: weight.shape for name, weight in network.state_dict().items()}:
                return config
    return None


def save(model: Network, path: str | PathLike[str], dtype: torch.dtype | None = None) -> None:
    """Write a model as `.safetensors`, or as `.pt` in Meta's format; `load` reads both, configuration included.

    A file of that name is replaced as a whole. Raises `OutputError` where it cannot be written, or ends otherwise.
    """
    expect_model(model)
    path = Path(path)
    if path.suffix not in (".safetensors", ".pt", ".pth"):
        raise OutputError(f"a model is written to a file that ends in .safetensors or .pt; got {path.name!r}")
    state = {
        key: value.detach().to("cpu", dtype if value.is_floating_point() else None).contiguous()
        for key, value in model.state_dict().items()
    }
    text = config_to_json(model.config)
    if path.suffix == ".safetensors":
        save_tensors(state, path, {CONFIG_KEY: text})
        return
    with _replacing(path) as partial:
        torch.save({"model": state, CONFIG_KEY: text}, partial)


def save_tensors(tensors: dict[str, Tensor], path: Path, notes: dict[str, str]) -> None:
    """Write a safetensors file in one step. Raises `OutputError` where it cannot be written."""
    from safetensors.torch import save_file

    with _replacing(path) as partial:
        partial.touch()
        mode = partial.stat().st_mode  # safetensors makes files that nobody else can read, whatever the umask
        save_file(tensors, partial, metadata=notes)
        partial.chmod(mode)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when the block is left without an error, and else is removed."""
    from safetensors import SafetensorError

    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no folder {path.parent}")
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch's writer raises RuntimeError
        raise OutputError(f"cannot write {path}: {_first_line(error)}") from error
    finally:
        with suppress(OSError):
            partial.unlink()


def config_to_json(config: ModelConfig) -> str:
    """A configuration as one line of JSON."""
    fields: dict[str, Any] = asdict(config)
    fields["trunk"] = {"kind": config.trunk.kind, **fields["trunk"]}
    return json.dumps(fields)


def config_from_json(text: str, source: Path | str) -> ModelConfig:
    """The inverse of `config_to_json`. Raises `CheckpointError`."""
    try:
        fields = json.loads(text)
        trunk = {key: tuple(v) if isinstance(v, list) else v for key, v in fields.pop("trunk").items()}
        kind = {"hiera": HieraConfig, "convnet": ConvNetConfig}[str(trunk.pop("kind"))]
        return ModelConfig(trunk=kind(**trunk), **fields)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{source} names a configuration this version cannot read: {error}") from error
