"""Checkpoints: by model name, hub id, directory, ``.safetensors`` or ``.pt``, with one-line errors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fgq_bench.environment import check_compile_cache
from fgq_bench.errors import UserError, lacks_memory
from fgq_bench.models.alternating import AlternatingModel
from fgq_bench.models.interface import ModelConfig, ReconstructionModel
from fgq_bench.models.pi3 import Pi3Config
from fgq_bench.models.precision import stored_dtypes
from fgq_bench.models.tiny import PI3_TINY, VGGT_TINY
from fgq_bench.models.vggt import VGGTConfig
from fgq_bench.suggest import unknown

WEIGHTS = Path(__file__).parent / "weights"  # the embedded ones
FILES = ("model.safetensors", "model.pt")
DEEPEST = 100  # blocks that a configuration may name whatever the file holds


@dataclass(frozen=True)
class ModelSpec:
    """A model that can be named: its sizes, where its weights are, and the precision it is evaluated in.

    A ``bfloat16`` model is held as a bf16 deployment holds it: the weights that autocast would cast at every use are
    rounded to bf16 when they are read (``precision.stored_dtypes``). Predictions do not change, but quantizers start
    from these weights, where the papers' codes round the checkpoint's fp32 masters.
    """

    name: str
    title: str
    config: ModelConfig
    checkpoint: str  # hub id or path
    compute_dtype: str  # "float32", or "bfloat16" for autocast around the pass
    licence: str
    calibration: str | None  # manifest that methods are calibrated on unless another is asked for


MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec(
            "vggt-tiny",
            "embedded VGGT, width 192, 4+4 blocks, trained on procedural scenes",
            VGGT_TINY,
            str(WEIGHTS / "vggt-tiny.safetensors"),
            "float32",
            "Apache-2.0",
            "procedural-64x4",
        ),
        ModelSpec(
            "pi3-tiny",
            "embedded π³, the trunk of vggt-tiny, trained on from there on procedural scenes",
            PI3_TINY,
            str(WEIGHTS / "pi3-tiny.safetensors"),
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
        ModelSpec(
            "pi3",
            "π³ (Wang et al., arXiv:2507.13347)",
            Pi3Config(),
            "yyfz233/Pi3",
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


@dataclass(frozen=True)
class Entry:
    """A tensor of a checkpoint file, not read yet."""

    shape: tuple[int, ...]
    read: Callable[[], Tensor]


def open_checkpoint(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """Entries and metadata of a checkpoint file; raises UserError for a damaged or foreign one.

    A ``.pt`` file stays mapped while its entries live: what was read of it counts as the process's memory until then,
    though the system may take it back.
    """
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
                metadata = file.metadata() or {}
            return {key: Entry(shape, partial(_read, path, key)) for key, shape in shapes.items()}, metadata
        loaded: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(f"{path}: not a readable checkpoint, perhaps truncated ({reason})") from None
    except Exception as error:  # pickle.UnpicklingError and its kin: anything but plain tensors
        raise UserError(f"{path}: refused, it holds more than tensors ({type(error).__name__})") from None
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise UserError(f"{path}: not a state dict of tensors")
    return {key: Entry(tuple(value.shape), partial(value.detach)) for key, value in loaded.items()}, {}


def _read(path: Path, key: str) -> Tensor:
    """One tensor of a safetensors file, opened anew: a mapping that stays open keeps every page that was read."""
    with safe_open(path, "pt") as file:
        tensor: Tensor = file.get_tensor(key)
    return tensor


def check_keys(path: Path, found: Mapping[str, Entry], expected: Mapping[str, Tensor]) -> None:
    """Raise UserError where ``found`` is not exactly the model's: names the first differences."""
    missing = [key for key in expected if key not in found]
    foreign = [key for key in found if key not in expected]
    shapes = [key for key in expected if key in found and found[key].shape != expected[key].shape]
    problems = [
        f"{len(keys)} {what} (first: {keys[0]})"
        for what, keys in (("keys missing", missing), ("unknown keys", foreign), ("shapes differ", shapes))
        if keys
    ]
    if problems:
        raise UserError(f"{path}: not a checkpoint of this model: {'; '.join(problems)}")


def load_model(name: str = "vggt-tiny", checkpoint: str | None = None, device: str = "cpu") -> AlternatingModel:
    """Load a model in evaluation mode with frozen weights, stored for the precision in which it is evaluated.

    A ``float32`` model's weights are all fp32. Of a ``bfloat16`` one those that autocast would cast are bf16, all else
    (norms, LayerScale, tokens, position embedding, heads) is fp32; it must run under autocast (``precision``). Tensors
    are read and converted one by one: memory holds the model and one tensor of the file.

    Args:
        name: a key of ``MODELS``; fixes the sizes unless the checkpoint's metadata state them, and the precision.
        checkpoint: file, directory or hub id; default: the model's own.
        device: torch device.

    Raises:
        UserError: unknown name; missing, truncated or foreign checkpoint; a weight that is not finite.
    """
    spec = find_model(name)
    path = resolve(checkpoint or spec.checkpoint)
    entries, metadata = open_checkpoint(path)
    model = _build(_config(spec, metadata, path), len(entries), path)
    entries = {key: entry for key, entry in entries.items() if not key.startswith(model.ignored)}
    check_keys(path, entries, model.state_dict())
    dtypes = stored_dtypes(model, spec.compute_dtype)
    state = {key: _finite(entry.read(), key, path).to(device, dtypes[key], copy=True) for key, entry in entries.items()}
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


def _finite(weight: Tensor, key: str, path: Path) -> Tensor:
    """``weight``; raises UserError where it holds NaN or Inf: no number of such a model means anything."""
    if not weight.isfinite().all():
        raise UserError(f"{path}: {key} holds NaN or Inf: a damaged checkpoint, or a training that diverged")
    return weight


def _config(spec: ModelSpec, metadata: dict[str, str], path: Path) -> ModelConfig:
    """Sizes that the checkpoint's metadata state, else those of ``spec``; UserError where they are another family's."""
    if "config" not in metadata:
        return spec.config
    try:
        return spec.config.from_dict(json.loads(metadata["config"]))
    except (TypeError, ValueError, AttributeError, RecursionError):
        raise UserError(f"{path}: not a checkpoint of {spec.name}: its configuration is another model's") from None


def _build(config: ModelConfig, tensors: int, path: Path) -> AlternatingModel:
    """A network of these sizes without weights; raises UserError where there is none with so few ``tensors``."""
    try:
        if deep := [key for key, value in config.to_dict().items() if "depth" in key and value > max(tensors, DEEPEST)]:
            raise ValueError(f"{deep[0]} is larger than the number of tensors")  # before it takes hours
        check_compile_cache()  # torch imports its compiler to make weights
        with torch.device("meta"):
            return config.build()
    except UserError:
        raise
    except Exception as error:  # whatever layers make of sizes that are none
        if lacks_memory(error):
            raise
        raise UserError(f"{path}: its configuration describes no model ({type(error).__name__}: {error})") from None


def save_model(model: ReconstructionModel, path: Path, dtype: torch.dtype = torch.float16) -> None:
    """Write weights and configuration as safetensors."""
    tensors = {key: value.detach().to("cpu", dtype).contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, path, {"config": json.dumps(model.config.to_dict())})


def model_hash(model: ReconstructionModel) -> str:
    """SHA-256 over the configuration and every weight: the model's identity in result keys."""
    digest = hashlib.sha256(json.dumps(model.config.to_dict(), sort_keys=True).encode())
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
