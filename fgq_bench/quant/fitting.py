"""Does an artefact fit a float model: are its layers, and what else it changes, those of that model and its scope?"""

from __future__ import annotations

from torch import nn

from fgq_bench.errors import UserError
from fgq_bench.models.interface import ReconstructionModel
from fgq_bench.quant.artifact import QuantizedModel
from fgq_bench.quant.header import FLOAT_TARGETS
from fgq_bench.quant.linear import PARTS, fused_part
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.scopes import SCOPES, target_linears


def replaced(quantized: QuantizedModel) -> dict[str, set[str]]:
    """Linears of the float model that ``quantized`` replaces, each with the parts that do so (itself: "")."""
    found: dict[str, set[str]] = {}
    for name in quantized.linears:
        part = fused_part(name)
        found.setdefault(part[0] if part else name, set()).add(PARTS[part[1]] if part else "")
    return found


def check_fits(quantized: QuantizedModel, model: ReconstructionModel, path: object) -> None:
    """Raise UserError, with file and key, where ``quantized`` has a layer, tensor or token that ``model`` has no place
    for, or lacks a linear of the scope that its header says.
    """
    _check_targets(quantized, model, path)
    for name, linear in quantized.linears.items():
        part = fused_part(name)
        whole = model.get_submodule(part[0] if part else name)
        assert isinstance(whole, nn.Linear), "targets are linears"
        shape = [whole.out_features // (len(PARTS) if part else 1), whole.in_features]
        if [linear.out_features, linear.in_features] != shape:
            raise UserError(f"{path}: layer {name!r}: {linear.out_features} x {linear.in_features}, the model has {shape[0]} x {shape[1]}")  # fmt: skip
    parameters = dict(model.named_parameters())
    for name, value in quantized.overrides.items():
        if name not in parameters or parameters[name].shape != value.shape:
            found = f"{list(parameters[name].shape)} there" if name in parameters else "no such parameter"
            raise UserError(f"{path}: override {name!r} {list(value.shape)}: {type(model).__name__} has {found}")
    if (tokens := quantized.camera_tokens) is not None:
        if not model.has_camera_token:
            raise UserError(f"{path}: tensor 'camera_tokens': {type(model).__name__} has no camera token")
        if tokens.shape[1] != 2 * model.config.dim:
            raise UserError(f"{path}: tensor 'camera_tokens': {tokens.shape[1]} channels, the model has {2 * model.config.dim}")  # fmt: skip


def _check_targets(quantized: QuantizedModel, model: ReconstructionModel, path: object) -> None:
    """Raise UserError unless the layers are the linears of the header's scope, but for those that it says stay float."""
    if Scheme.parse(quantized.header["scheme"]).is_float:
        return
    scope, own = quantized.header["scope"], replaced(quantized)
    if scope not in SCOPES:
        raise UserError(f"{path}: key 'header.scope': {scope!r} is none of {', '.join(SCOPES)}")
    targets = target_linears(model, scope)
    if foreign := [name for name in own if name not in targets]:
        raise UserError(f"{path}: layer {foreign[0]!r} is none of scope {scope} of {type(model).__name__}")
    absent = [name for name in targets if own.get(name) not in ({""}, set(PARTS))]
    if missing := [name for name in absent if name in own or name not in quantized.header.get(FLOAT_TARGETS, [])]:
        raise UserError(f"{path}: layer {missing[0]!r} of scope {scope} is missing, or in part")
