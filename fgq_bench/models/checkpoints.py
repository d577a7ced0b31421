"""Checkpoints: by model name, hub id, directory, ``.safetensors`` or ``.pt``, with one-line errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fgq_bench.errors import UserError
from fgq_bench.models.tiny import TINY
from fgq_bench.models.vggt import VGGT, VGGTConfig
from fgq_bench.suggest import unknown

FILES = ("model.safetensors", "model.pt")
IGNORED = ("track_head.",)  # VGGT-1B's tracker: read, not used


@dataclass(frozen=True)
class ModelSpec:
    """A model that can be named: its sizes, where its weights are, and the precision it is evaluated in."""

    name: str
    title: str
    config: VGGTConfig
    checkpoint: str  # hub id or path
    compute_dtype: str  # "float32", or "bfloat16" for autocast around the aggregator
    licence: str
    calibration: str | None  # manifest that methods are calibrated on unless another is asked for


MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec(
            "vggt-tiny",
            "embedded VGGT, width 192, 4+4 blocks, trained on procedural scenes",
            TINY,
            str(Path(__file__).parent / "weights" / "vggt-tiny.safetensors"),
            "float32",
            "Apache-2.0",
            "procedural-64x4",
        ),
        ModelSpec(
            "vggt-1b",
            "VGGT-1B (Wang et al., CVPR 2025)",
            VGGTConfig(),
            "facebook/VGGT-1B",
            "bfloat16",
            "CC BY-NC 4.0",
            None,
        ),
    )
}


def find_model(name: str) -> ModelSpec:
    """The model called ``name``; raises UserError with the nearest names."""
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]


def resolve(checkpoint: str) -> Path:
    """Local file of a checkpoint given as a file, a directory or a hub id (downloaded and cached)."""
    path = Path(checkpoint)
    if path.is_file():
        return path
    if path.is_dir():
        for name in FILES:
            if (path / name).is_file():
                return path / name
        raise UserError(f"{path}: no {' or '.join(FILES)} in this directory")
    if path.suffix in (".safetensors", ".pt") or checkpoint.count("/") != 1:
        raise UserError(f"{checkpoint}: no such file, directory or hub id (OWNER/NAME)")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(checkpoint, FILES[0]))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{checkpoint}: cannot be downloaded ({reason}); give --checkpoint FILE") from None


def read_state_dict(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a checkpoint file; raises UserError for a damaged or foreign one."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(f"{path}: not a readable checkpoint, perhaps truncated ({reason})") from None
    except Exception as error:  # pickle.UnpicklingError and its kin: anything but plain tensors
        raise UserError(f"{path}: refused, it holds more than tensors ({type(error).__name__})") from None
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UserError(f"{path}: not a state dict of tensors")
    return dict(loaded), {}


def check_keys(path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise UserError where ``state`` is not exactly the model's: names the first differences."""
    missing = [key for key in expected if key not in state]
    foreign = [key for key in state if key not in expected]
    shapes = [key for key in expected if key in state and state[key].shape != expected[key].shape]
    problems = [
        f"{len(keys)} {what} (first: {keys[0]})"
        for what, keys in (("keys missing", missing), ("unknown keys", foreign), ("shapes differ", shapes))
        if keys
    ]
    if problems:
        raise UserError(f"{path}: not a checkpoint of this model: {'; '.join(problems)}")


def load_model(name: str = "vggt-tiny", checkpoint: str | None = None, device: str = "cpu") -> VGGT:
    """Load a model in evaluation mode with frozen fp32 weights.

    Args:
        name: a key of ``MODELS``; fixes the sizes unless the checkpoint's metadata state them.
        checkpoint: file, directory or hub id; default: the model's own.
        device: torch device.

    Raises:
        UserError: unknown name; missing, truncated or foreign checkpoint.
    """
    spec = find_model(name)
    path = resolve(checkpoint or spec.checkpoint)
    state, metadata = read_state_dict(path)
    state = {key: value for key, value in state.items() if not key.startswith(IGNORED)}
    config = VGGTConfig.from_dict(json.loads(metadata["config"])) if "config" in metadata else spec.config
    with torch.device("meta"):
        model = VGGT(config)
    check_keys(path, state, model.state_dict())
    model.load_state_dict({key: value.to(device, torch.float32) for key, value in state.items()}, assign=True)
    return model.eval().requires_grad_(False)


def save_model(model: VGGT, path: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write weights and configuration as safetensors."""
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, path, {"config": json.dumps(model.config.to_dict())})


def model_hash(model: VGGT) -> str:
    """SHA-256 over the configuration and every weight: the model's identity in result keys."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True).encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
