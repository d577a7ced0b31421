"""``quantize`` and ``evaluate``: one quantized model as a file."""

from __future__ import annotations

from pathlib import Path

from fgq_bench import api
from fgq_bench.calibration.manifest import choose_manifest, load_manifest
from fgq_bench.cards import DatasetCard, Scalar, load_card
from fgq_bench.commands.given import check_roots, unused_calibration
from fgq_bench.commands.parsing import check_device, root_of
from fgq_bench.commands.printing import print_json, print_rows
from fgq_bench.errors import UserError
from fgq_bench.files import write_atomically
from fgq_bench.loaders.base import open_dataset
from fgq_bench.models.checkpoints import find_model
from fgq_bench.quant.artifact import read_header
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.size import count_bytes
from fgq_bench.registry import find_method


def quantize_to_file(
    model: str, checkpoint: str | None, device: str, method: str, scheme: str, scope: str, seed: int,
    overrides: dict[str, Scalar], calibration: str | None, roots: dict[str, Path], shared: Path,
    output: Path,
) -> None:  # fmt: skip
    """Quantize a model and write the artefact; prints its size by component."""
    if output.suffix != ".safetensors":
        raise UserError(f"--output {output}: must end in .safetensors")
    float_model = api.load_model(model, checkpoint, check_device(device))
    spec = find_model(model)
    if find_method(method).needs_calibration(Scheme.parse(scheme)):
        calibration = choose_manifest(calibration, spec.calibration, spec.name)
        check_roots(roots, load_manifest(calibration).datasets)
    elif calibration is not None:
        raise unused_calibration(calibration)
    else:
        check_roots(roots, ())
    quantized = api.quantize(
        float_model, method, scheme, scope, seed, overrides, calibration or "none", roots, spec.compute_dtype, shared
    )
    write_atomically(output, quantized.save)
    sizes = count_bytes(float_model, quantized)
    print_rows(f"wrote {output}", [{"component": key, "MB": f"{value / 1e6:.3f}"} for key, value in sizes.items()])


def evaluate_file(
    artifact: Path, dataset: str, tasks: list[str] | None, model: str, checkpoint: str | None, roots: list[str],
    protocol: str | None, limit: int | None, device: str, backend: str, as_json: bool,
) -> None:  # fmt: skip
    """Score an artefact on a data set and print every metric."""
    spec = find_model(model)
    float_model = api.load_model(model, checkpoint, check_device(device))
    small = api.load_quantized(artifact, float_model, backend)
    data = open_dataset(load_card(DatasetCard, dataset), root_of(dataset, roots), limit, protocol)
    learned = set(read_header(artifact).get("calibrated_on", []))
    if shared := [name for name in data.frame_list() if data.global_name(name) in learned]:
        raise UserError(
            f"{artifact}: calibrated on {shared[0]!r}, which {dataset} scores; calibrate on other sequences"
        )
    scores = api.score_dataset(small, data, tasks, float_model, spec.compute_dtype)
    if as_json:
        print_json(scores)
        return
    rows = [
        {
            "task": task, "metric": name, "value": f"{entry['value']:.4f}",
            "95 % interval": f"[{entry['ci_low']:.4f}, {entry['ci_high']:.4f}]", "unit": entry["unit"],
        }
        for task, metrics in scores.items()
        for name, entry in metrics.items()
    ]  # fmt: skip
    print_rows(f"{artifact} on {dataset}", rows)
