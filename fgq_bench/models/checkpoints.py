"""Models by name and checkpoint, loaded for evaluation, saved, and identified by a hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from fgq_bench.environment import check_compile_cache
from fgq_bench.errors import UserError
from fgq_bench.models.alternating import AlternatingModel
from fgq_bench.models.checkpoint_files import check_entries, open_checkpoint
from fgq_bench.models.checkpoint_sources import resolve
from fgq_bench.models.interface import ModelConfig, ReconstructionModel
from fgq_bench.models.pi3 import Pi3Config
from fgq_bench.models.precision import stored_dtypes
from fgq_bench.models.tiny import PI3_TINY, VGGT_TINY
from fgq_bench.models.vggt import VGGTConfig
from fgq_bench.suggest import unknown

WEIGHTS = Path(__file__).parent / "weights"  # the embedded ones
DEEPEST = 100  # blocks that a configuration may name whatever the file holds
LONGEST_CONFIG = 10_000  # characters


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
    path = resolve(spec.checkpoint if checkpoint is None else checkpoint)
    entries, metadata = open_checkpoint(path)
    model = _build(_config(spec, metadata, path), len(entries), path)
    entries = {key: entry for key, entry in entries.items() if not key.startswith(model.ignored)}
    check_entries(path, entries, model.state_dict())
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
        if len(metadata["config"]) > LONGEST_CONFIG:
            raise ValueError(f"it is longer than {LONGEST_CONFIG} characters")
        return spec.config.from_json(metadata["config"])
    except ValueError as error:
        raise UserError(
            f"{path}: not a checkpoint of {spec.name}: its configuration is another model's, or none ({error})"
        ) from None


def _build(config: ModelConfig, tensors: int, path: Path) -> AlternatingModel:
    """A network of these sizes without weights; raises UserError where it would have more blocks than ``tensors``."""
    for key, value in config.to_dict().items():
        if "depth" in key and value > max(tensors, DEEPEST):  # before it takes hours
            raise UserError(f"{path}: its configuration describes no model: {key} is larger than the number of tensors")
    check_compile_cache()  # torch imports its compiler to make weights
    with torch.device("meta"):
        return config.build()


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
