"""One step of the walk through VGGT-1B in a process of its own, so that its peak memory is its own.

``python walk.py FOLDER STEP [METHOD SCHEME]`` prints what the step found as one line of JSON.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from official_checkpoint import write_official

from fgq_bench import api
from fgq_bench.calibration.calibration import Calibration
from fgq_bench.calibration.manifest import CalibrationClips, Clip, Manifest, fingerprint, load_manifest
from fgq_bench.cards import DatasetCard, Scalar, content_root, load_card
from fgq_bench.loaders.base import open_dataset
from fgq_bench.models.checkpoints import model_hash
from fgq_bench.models.vggt import VGGT
from fgq_bench.predictions import STORED_DTYPE, predict
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.scopes import target_linears
from fgq_bench.quant.size import count_bytes
from fgq_bench.quantizers.base import Job
from fgq_bench.registry import find_method

SEARCHING, SEARCHED = ("qvggt:vggt-1b",), 8  # the task-aware search is given the linears of two blocks only
SHORT: dict[str, dict[str, Scalar]] = {
    "awq": {"grid": 4, "clip_steps": 2},
    "flatquant": {"epochs": 1, "batch": 1},
    "fgq": {"epochs": 1, "batch": 1, "probes": 1},
    "quantvggt": {"epochs": 1, "batch": 1},
    "qvggt:vggt-1b": {"grid": 4, "probe_clips": 2},
    "qvggt:sd": {"grid": 4, "probe_clips": 2},
}
Found = dict[str, float]


class Walk:
    """Everything in one folder: checkpoint, data card, manifest, captured statistics, artefacts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.card, self.manifest = folder / "objects-126.toml", folder / "two.json"

    def write(self) -> Found:
        """The checkpoint, and 2 sequences of 2 frames at 126 x 126 with their manifest; forgets earlier walks."""
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        with timed() as found:
            write_official(self.folder / "model.safetensors")
        text = (content_root() / "datasets" / "procedural-objects-pool.toml").read_text()
        changes = {"name": f'"{self.card.stem}"', "image_size": "126", "sequences": "2", "frames": "2"}
        for key, value in changes.items():
            text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        self.card.write_text(text)
        dataset, name = open_dataset(load_card(DatasetCard, str(self.card))), str(self.card)
        clips = tuple(Clip(name, sequence, tuple(frames)) for sequence, frames in dataset.frames.items())
        Manifest("two", "all", 0, clips, ((name, fingerprint(dataset)),)).save(self.manifest)
        return {**found, "bytes": (self.folder / "model.safetensors").stat().st_size}

    def load(self) -> Found:
        """The checkpoint alone."""
        with timed() as found:
            model = self._model()
        return {**found, "bytes": sum(each.nbytes for each in model.parameters())}

    def calibrate(self) -> Found:
        """Statistics of all linears that are quantized."""
        model = self._model()
        data = self._calibration(model)
        with timed() as found:
            data.capture(target_linears(model, "aa"))
        return {**found, "bytes": sum(path.stat().st_size for path in data.folder.rglob("*.safetensors"))}

    def quantize(self, method: str, scheme: str) -> Found:
        """Compile and save; QVGGT's own search sees two blocks only, all other methods all blocks."""
        model, options = self._model(), SHORT.get(method, {})
        with timed() as found:
            if method in SEARCHING:
                header: dict[str, object] = {"model": {"hash": model_hash(model)}, "method": method}
                targets = target_linears(model, "aa")[:SEARCHED]
                job = Job(model, targets, Scheme.parse(scheme), 0, header, self._calibration(model))
                made = find_method(method, options).quantizer().quantize(job)
            else:
                made = api.quantize(
                    model, method, scheme, overrides=options, calibration=str(self.manifest), folder=self.folder / "cache"
                )  # fmt: skip
            made.save(self._artifact(method, scheme))
        sizes, size = count_bytes(model, made), self._artifact(method, scheme).stat().st_size
        return {**found, "bytes": size, "share": sizes["total"] / sizes["total_bf16"]}

    def predict(self, method: str, scheme: str) -> Found:
        """Load checkpoint and artefact, predict one sequence beside the float model."""
        model = self._model()
        dataset = open_dataset(load_card(DatasetCard, str(self.card)))
        scene, fields = dataset.load(dataset.sequences()[0]), frozenset(STORED_DTYPE)
        with timed() as found:
            small = api.load_quantized(self._artifact(method, scheme), model)
        with timed() as run:
            mine = predict(small, scene, "bfloat16", fields)
        own = predict(model, scene, "bfloat16", fields)
        tensors = [value for name in fields if (value := getattr(mine, name)) is not None]
        assert mine.depth is not None and own.depth is not None
        change = ((mine.depth.float() - own.depth.float()).abs() / own.depth.float()).mean().item()
        return {
            **found, "predict_seconds": run["seconds"], "depth_change": change,
            "finite": float(all(bool(value.isfinite().all()) for value in tensors)),
        }  # fmt: skip

    def _model(self) -> VGGT:
        model = api.load_model("vggt-1b", str(self.folder))
        assert isinstance(model, VGGT)
        return model

    def _calibration(self, model: VGGT) -> Calibration:
        clips = CalibrationClips(load_manifest(str(self.manifest)), {})
        return Calibration(model, model_hash(model), clips, "bfloat16", self.folder / "cache")

    def _artifact(self, method: str, scheme: str) -> Path:
        return self.folder / f"{method.replace(':', '+')}-{scheme}.safetensors"


@contextmanager
def timed() -> Iterator[Found]:
    """Fills in ``seconds``, and ``cpu``: those of all threads, which a busy machine changes less."""
    found: Found = {}
    began, worked = time.monotonic(), time.process_time()
    yield found
    found |= {"seconds": time.monotonic() - began, "cpu": time.process_time() - worked}


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def main(folder: str, step: str, *arguments: str) -> None:
    """Run one step."""
    run: Callable[..., Found] = getattr(Walk(Path(folder)), step)
    print(json.dumps({**run(*arguments), "peak": peak_bytes()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
