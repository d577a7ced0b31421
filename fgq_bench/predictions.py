"""Predictions per sequence: made once, cached as far as the tasks read them, scored as often as one likes."""

from __future__ import annotations

from pathlib import Path

import torch

from fgq_bench.errors import UserError
from fgq_bench.loaders.scene import Scene
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.models.precision import evaluation_precision
from fgq_bench.tasks.base import SequencePrediction
from fgq_bench.tensor_files import load_tensors, save_tensors

STORED_DTYPE = {"pose_enc": torch.float32, "depth": torch.float16, "points": torch.float16}
STORED_SHAPE = {"pose_enc": (None, 9), "depth": (None, None, None), "points": (None, None, None, 3)}  # [frames, ...]


@torch.inference_mode()
def predict(model: ReconstructionModel, scene: Scene, compute_dtype: str, fields: frozenset[str]) -> SequencePrediction:
    """Run ``model`` on one sequence (never batched, so that no score can depend on a batch size).

    Args:
        compute_dtype: ``float32``, or ``bfloat16`` for autocast around the pass.
        fields: which predictions are kept; they are rounded as the cache stores them, cached or not.

    Raises:
        UserError: a prediction is not a number. Infinite ones (depth beyond fp16) are passed on: metrics count them.
    """
    device = model.device
    with evaluation_precision(device, compute_dtype):
        out = model(scene.images[None].to(device))
    kept = {name: getattr(out, name)[0].to("cpu", STORED_DTYPE[name]).contiguous() for name in sorted(fields)}
    if lost := [name for name, value in kept.items() if value.isnan().any()]:
        raise UserError(f"sequence {scene.sequence}: {lost[0]} is predicted as NaN: weights or activations overflow")
    return SequencePrediction(**kept)


class PredictionCache:
    """Files ``<root>/<first two digits>/<key>.safetensors``; a root of None keeps nothing."""

    def __init__(self, root: Path | None) -> None:
        self.root = root

    def path(self, key: str) -> Path | None:
        """File of one sequence's prediction, None where nothing is kept."""
        return self.root / key[:2] / f"{key}.safetensors" if self.root else None

    def get(self, key: str, fields: frozenset[str], computed_on: str | None = None) -> SequencePrediction | None:
        """The cached prediction if it holds all ``fields``; a damaged or foreign file counts as absent.

        With ``computed_on``, one that was computed on anything else does, too.
        """
        path = self.path(key)
        tensors = None if path is None else load_tensors(path, key, computed_on)
        if tensors is None or not fields <= tensors.keys():
            return None
        if not all(_is_prediction(name, value) for name, value in tensors.items()):
            return None
        if len({len(value) for value in tensors.values()}) > 1:
            return None
        return SequencePrediction(**tensors)

    def put(self, key: str, prediction: SequencePrediction, computed_on: str | None = None) -> None:
        """Store a prediction atomically, with what it was computed on; raises UserError when the disk refuses."""
        path = self.path(key)
        if path is None:
            return
        tensors = {name: value for name in STORED_DTYPE if (value := getattr(prediction, name)) is not None}
        save_tensors(path, tensors, key, computed_on)


def _is_prediction(name: str, value: torch.Tensor) -> bool:
    """Whether a tensor has the type and shape of the field ``name``, and no NaN (see ``predict``)."""
    if STORED_DTYPE.get(name) != value.dtype or value.ndim != len(STORED_SHAPE[name]):
        return False
    sizes = zip(STORED_SHAPE[name], value.shape, strict=True)
    return all(got == (want or max(got, 1)) for want, got in sizes) and not bool(value.isnan().any())


def bytes_per_sequence(frames: int, height: int, width: int, fields: frozenset[str]) -> int:
    """Size of one cached sequence."""
    pixels = frames * height * width
    sizes = {"pose_enc": frames * 9 * 4, "depth": pixels * 2, "points": pixels * 6}
    return sum(sizes[name] for name in fields)
