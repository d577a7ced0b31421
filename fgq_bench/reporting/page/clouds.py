"""Point clouds of one sequence: truth, full precision, RTN and the scheme's best method, from cached predictions."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from fgq_bench.cards import ReportCard
from fgq_bench.loaders.scene import Scene
from fgq_bench.predictions import PredictionCache
from fgq_bench.reporting.figures.point_clouds import has_points, measured_depth, scaled_points, true_points
from fgq_bench.reporting.figures.report_figures import FIELDS
from fgq_bench.reporting.page.contenders import Contenders, contenders
from fgq_bench.reporting.page.section import Section, rounded
from fgq_bench.reporting.reports import Built
from fgq_bench.reporting.tables import Row

COUNT = 10_000  # points per cloud, the same pixels in every cloud of a sequence
REACH = 4.0  # radii around the centre that the 16-bit codes span; points beyond are left out
OUTSIDE = -32768
MISSING: Final = "No predictions are cached here: fgq-bench run-all keeps them, then fgq-bench report --page FILE with --results OUTPUT/results."  # fmt: skip


@dataclass
class Clouds:
    """Encodes the clouds of one sequence, each once."""

    scene: Scene
    cache: PredictionCache
    pixels: Tensor = field(init=False)  # [N] places of the chosen pixels
    centre: Tensor = field(init=False)  # [3]
    radius: float = field(init=False)
    codes: dict[str, str | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        truth = true_points(self.scene).reshape(-1, 3)
        valid = measured_depth(self.scene).flatten().nonzero()[:, 0].numpy()
        chosen = np.random.default_rng(0).choice(valid, min(COUNT, len(valid)), replace=False)
        self.pixels = torch.from_numpy(np.sort(chosen))
        shown = truth[self.pixels]
        low, high = torch.quantile(shown, torch.tensor([0.02, 0.98], dtype=shown.dtype), dim=0)
        self.centre, self.radius = (low + high) / 2, float((high - low).norm() / 2)
        self.codes["truth"] = self._encode(truth)

    def add(self, row: Row) -> str:
        """Encode a row's prediction (of the first seed), None where it is not cached; returns its name."""
        name = row.asked.text
        if name not in self.codes:
            cached = self.cache.get(row.runs[0].prediction_key(self.scene.sequence), FIELDS)
            self.codes[name] = None if cached is None else self._encode(scaled_points(self.scene, cached))
        return name

    def colours(self) -> str:
        """Base64 of uint8 red, green, blue of every point."""
        images = self.scene.images.permute(0, 2, 3, 1).reshape(-1, 3)[self.pixels]
        return _base64((255 * images).round().numpy().astype("u1"))

    def _encode(self, points: Tensor) -> str:
        """Base64 of int16 coordinates."""
        local = (points.reshape(-1, 3)[self.pixels] - self.centre) / (self.radius * REACH)
        inside = (local.abs() <= 1).all(-1, keepdim=True)  # false where not finite
        return _base64(torch.where(inside, (local * 32767).round(), OUTSIDE).numpy().astype("<i2"))


def clouds_section(reports: Sequence[Built], cache: PredictionCache) -> Section:
    """The first sequence of every data set and model that a report with ``pictures`` has cached predictions of."""
    title, scenes = "Point clouds", {}
    for each in (each for report in reports if report.card.pictures for each in report.sections):
        key = each.dataset, each.card.model
        if key not in scenes and (found := _scene(each.card, each.rows, cache)):
            scenes[key] = found
    if not scenes:
        return Section("clouds", title, missing=MISSING)
    return Section("clouds", title, data={"reach": REACH, "outside": OUTSIDE, "scenes": list(scenes.values())})


def _scene(card: ReportCard, rows: list[Row], cache: PredictionCache) -> dict[str, Any] | None:
    run = rows[0].runs[0]
    sequence = run.dataset.sequences()[0]
    if not any(cache.get(row.runs[0].prediction_key(sequence), FIELDS) for row in rows):
        return None
    scene = run.dataset.load(sequence)
    if not has_points(scene):
        return None
    clouds = Clouds(scene, cache)
    schemes = [_panels(group, clouds) for group in contenders(card, rows)]
    conditions = (
        f"{run.dataset.card.title}, sequence {sequence}, {len(scene.images)} frames. Model {run.loaded.spec.name} "
        f"({run.loaded.spec.compute_dtype}); rows, scope {card.scope}, seed {card.seeds[0]}, calibration and backend "
        f"{card.backend} as in the table of {card.name!r}. Depth unprojected with predicted cameras, first camera = "
        "world, one factor for each cloud: equal median depth. The same "
        f"{len(clouds.pixels)} random pixels in every cloud; what lies beyond {REACH:g} x the scene's radius is left out."
    )
    return {
        "title": f"{run.dataset.card.title}, {run.loaded.spec.name}", "conditions": conditions, "radius": rounded(clouds.radius),
        "colours": clouds.colours(), "codes": clouds.codes, "schemes": schemes,
    }  # fmt: skip


def _panels(group: Contenders, clouds: Clouds) -> dict[str, Any]:
    panels = [{"cloud": "truth", "title": "Ground truth", "note": "reference"}]
    for row, note in group.shown:
        panels.append({"cloud": clouds.add(row), "title": row.asked.text, "note": note})
    return {"scheme": group.scheme, "panels": panels}


def _base64(values: np.ndarray[Any, Any]) -> str:
    return base64.b64encode(values.tobytes()).decode()
