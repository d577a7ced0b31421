"""``sensitivity``: which blocks and linears mind being quantized."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from fgq_bench.commands.calibration import open_calibration
from fgq_bench.commands.printing import print_rows, print_text, working
from fgq_bench.errors import UserError
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.scopes import target_linears
from fgq_bench.quantizers.qvggt import protected_blocks
from fgq_bench.reporting.figures.fisher_maps import short_name
from fgq_bench.reporting.figures.sensitivity import draw_sensitivity
from fgq_bench.reporting.page.facts import SensitivityFacts, write_facts
from fgq_bench.sensitivity import WHOLE, measure


def write_sensitivity(
    model: str, checkpoint: str | None, calibration: str | None, roots: list[str], scheme: str, scope: str, clips: int,
    device: str, output: Path,
) -> None:  # fmt: skip
    """Quantize one block, then one linear, at a time; write errors, protected blocks and the figure to ``output``."""
    parsed = Scheme.parse(scheme).dynamic
    if parsed.is_float:
        raise UserError(f"--scheme {scheme}: quantizes nothing; for example w4a16g64")
    data, spec = open_calibration(model, checkpoint, calibration, roots, device, None)
    targets = target_linears(data.model, scope)
    for name in targets:
        parsed.groups_of(data.model.get_submodule(name).in_features, name)  # type: ignore[arg-type]
    found = []
    with working("measuring") as say:
        for each in measure(data, targets, parsed, clips, linears=True):
            say(f"measuring: {each.stage}")
            found.append(each)
    protected = protected_blocks(data.model, found)
    facts = {
        "model": spec.name, "scheme": str(parsed), "scope": scope, "manifest": data.clips.manifest.identity(),
        "clips": min(clips, len(data.clips)), "protected": protected,
        "parts": [{"stage": each.stage, "kind": each.kind, **each.errors} for each in found],
    }  # fmt: skip
    write_facts(output / "sensitivity.json", SensitivityFacts, facts)
    title = f"{spec.name}, RTN {parsed}, {facts['clips']} clips of {data.clips.manifest.name}"
    figure, _ = draw_sensitivity(found, protected, title, output / "sensitivity")
    by_stage: dict[str, dict[str, str]] = defaultdict(dict)
    for each in found:
        if each.kind == WHOLE:
            by_stage[each.stage] |= {f"{task} (%)": f"{100 * error:.3f}" for task, error in each.errors.items()}
    rows = [
        {"block": short_name(stage), **errors, "protected": "yes" if stage in protected else ""}
        for stage, errors in by_stage.items()
    ]
    print_rows(f"relative error of each head, one block at {parsed}", rows)
    print_text(f"wrote {output / 'sensitivity.json'} and {figure.path.name}")
