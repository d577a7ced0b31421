"""What the page reads from JSON files beside it: their schemas, by which the commands also write them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel

from fgq_bench.documents import read_json
from fgq_bench.files import write_json
from fgq_bench.fisher_validity.injection import MEASURES
from fgq_bench.fisher_validity.predictors import PERMUTED, VARIANCE
from fgq_bench.fisher_validity.ranking import CEILING
from fgq_bench.models.interface import TOKEN_TYPES
from fgq_bench.quant.header import ManifestIdentity
from fgq_bench.reporting.page.cancellation import TRAININGS
from fgq_bench.reporting.page.section import damaged
from fgq_bench.reporting.page.validity_chart import ALL, LOOKS, OWN
from fgq_bench.schema import Count, Finite, NotNegative, Schema, Size, check, fault_of
from fgq_bench.task_losses import TASKS


def _keys(*names: str) -> AfterValidator:
    """A dictionary has exactly these keys."""

    def checked(values: dict[str, Any]) -> dict[str, Any]:
        if values.keys() != set(names):
            raise ValueError(f"the keys are {', '.join(names)}")
        return values

    return AfterValidator(checked)


class BlockFisher(Schema):
    """A block's Fisher information by task."""

    block: str
    camera: NotNegative
    depth: NotNegative
    points: NotNegative


class FisherFacts(Schema):
    """``fisher.json``."""

    model: str
    manifest: ManifestIdentity
    estimator: str
    probes: Size
    seed: int
    blocks: list[BlockFisher]
    share_by_token_type: Annotated[dict[str, Annotated[dict[str, NotNegative], _keys(*TOKEN_TYPES)]], _keys(*TASKS)]


class Part(Schema):
    """What quantizing one part of the model does to every head."""

    stage: str
    kind: str
    camera: NotNegative
    depth: NotNegative
    points: NotNegative


class SensitivityFacts(Schema):
    """``sensitivity.json``."""

    model: str
    scheme: str
    scope: str
    manifest: ManifestIdentity
    clips: Size
    protected: list[str]
    parts: list[Part]


class Interval(Schema):
    """A value with its 95 % interval."""

    value: Finite
    ci_low: Finite
    ci_high: Finite


def _known_rankings(rows: dict[str, Any]) -> dict[str, Any]:
    if foreign := [name for name in rows if name.partition(", ")[0] not in LOOKS]:
        raise ValueError(f"{foreign[0]!r} is none of {', '.join(LOOKS)}")
    return rows


def _whole_ranking(rows: dict[str, Any]) -> dict[str, Any]:
    ends = (f", {OWN}", f", {ALL}", VARIANCE, PERMUTED, CEILING)
    if missing := [end for end in ends if not any(name.endswith(end) for name in rows)]:
        raise ValueError(f"no ranking {missing[0].removeprefix(', ')!r}")
    return rows


Rankings = Annotated[
    dict[str, Annotated[dict[str, Interval], _keys(*MEASURES)]], AfterValidator(_known_rankings)
]  # by measure


class Level(Schema):
    """Rank correlations over channels, or over blocks."""

    correlation: Annotated[Rankings, AfterValidator(_whole_ranking)]
    over_variance: Rankings
    over_other_tasks: Rankings
    by_task: Rankings


class ValidityConditions(Schema):
    """What was measured, and on what."""

    model: str
    compute_dtype: str
    manifest: ManifestIdentity
    calibration_clips: Size
    datasets: list[str]
    clips: list[str]
    seeds: list[int]
    channels: Size
    width: Size
    blocks: Size
    bits: Size
    blocks_that_count: Annotated[dict[str, Count], _keys(*MEASURES)]


def _every_training(artefacts: dict[str, str]) -> dict[str, str]:
    if missing := [kind for kind in TRAININGS if not any(name.startswith(kind) for name in artefacts)]:
        raise ValueError(f"no training {missing[0]!r}")
    if TRAININGS[0] not in artefacts:
        raise ValueError(f"no training {TRAININGS[0]!r}")
    return artefacts


class CancellationFacts(Schema):
    """Short trainings with and without factors."""

    artefacts: Annotated[dict[str, str], AfterValidator(_every_training)]  # SHA-256 by training
    weight_changes: dict[str, NotNegative]
    estimator: str
    scheme: str
    epochs: Count
    blocks: Size
    clips: Size


class ValidityFacts(Schema):
    """``fisher-validity.json``."""

    command: str
    conditions: ValidityConditions
    channels: Level
    blocks: Level
    contrast: Rankings
    cancellation: CancellationFacts
    token_deviation: NotNegative


def read_facts(path: Path, verb: str, schema: type[BaseModel]) -> dict[str, Any] | None:
    """The JSON file that ``fgq-bench VERB`` writes, None where there is none; raises UserError, with file and key, if
    it is damaged or another's.
    """
    if not path.is_file():
        return None
    try:
        facts: dict[str, Any] = read_json(path)
    except (OSError, ValueError) as error:
        raise damaged(path, verb, error) from None
    if (fault := fault_of(schema, facts)) is not None:
        raise damaged(path, verb, fault)
    return facts


def write_facts(path: Path, schema: type[BaseModel], facts: dict[str, Any]) -> None:
    """Write ``facts`` as JSON; raises UserError for what ``schema`` refuses."""
    check(schema, facts, str(path))
    write_json(path, facts)
