"""What is timed: single layers, transformer blocks, the aggregator, the whole network; each beside bf16 in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgq_bench.environment import package_version
from fgq_bench.kernels.kernel import IntegerKernel, Kernel
from fgq_bench.kernels.placement import seat
from fgq_bench.kernels.reference import execute
from fgq_bench.kernels.registry import PEERS, Backend, find_backend
from fgq_bench.latency import library, producers
from fgq_bench.latency.variants import BASELINE, Variant
from fgq_bench.models.alternating import AlternatingModel
from fgq_bench.models.interface import call_stage
from fgq_bench.quant.linear import QuantLinear
from fgq_bench.quant.scheme import Scheme
from fgq_bench.quant.transforms import Hadamard, Kronecker, Transform, balanced_factors

BF16 = torch.bfloat16
RunOf = Callable[[AlternatingModel, int, int], Callable[[], object]]  # of a model, frames and pixels


@dataclass(frozen=True)
class Case:
    """Variants that are interleaved in one run; ``flops`` of one call where they are known (two per multiply-add)."""

    subject: str
    name: str  # unique within the subject
    about: dict[str, Any]  # sizes, for the result's conditions
    build: Callable[[], dict[str, Variant]]
    flops: float | None = None


def roles(dim: int) -> dict[str, tuple[int, int]]:
    """Input and output width of a transformer block's linears."""
    return {"qkv": (dim, 3 * dim), "proj": (dim, dim), "fc1": (dim, 4 * dim), "fc2": (4 * dim, dim)}


def layer_cases(
    dim: int, tokens: Sequence[int], schemes: Sequence[Scheme], backend: Backend, device: torch.device
) -> Iterator[Case]:
    """Every role at every number of tokens: bf16, each scheme with and without its quantiser and with online
    transforms, peers where they are installed, PyTorch's int8 and fp8 products, and (extras) fp32 and emulated
    quantization. Where a kernel fuses its quantiser with the layer before it, both are timed with that layer, too.
    """
    for role, (width, out) in roles(dim).items():
        for count in tokens:
            build = partial(_layer_variants, role, (width, out), count, schemes, backend, device)
            about = {"role": role, "tokens": count, "in": width, "out": out}
            yield Case("layers", f"{role}-m{count}", about, build, 2.0 * width * out * count)


def _layer_variants(
    role: str, widths: tuple[int, int], tokens: int, schemes: Sequence[Scheme], backend: Backend, device: torch.device
) -> dict[str, Variant]:
    width, out = widths
    generator = torch.Generator(device).manual_seed(0)
    weight, bias, x32 = (
        torch.randn(shape, device=device, generator=generator) for shape in ((out, width), (out,), (tokens, width))
    )
    x, weight16, bias16 = x32.to(BF16), weight.to(BF16), bias.to(BF16)
    moved = 2.0 * (x.numel() + tokens * out)  # bytes of input and output
    product16 = partial(F.linear, weight=weight16, bias=bias16)
    variants = {BASELINE: Variant(partial(product16, x), False, moved + 2.0 * weight.numel())}
    kernels = backend.load(device.type)
    fused: dict[str, Variant] = {}
    for scheme in schemes:
        for label, transforms in {
            "": [],
            " + Hadamard": [_hadamard(width, device)],
            " + Kronecker": [_kronecker(width, device)],
        }.items():
            linear = QuantLinear.from_float(weight, bias, scheme, transforms=transforms).to(device)
            variants |= _our_variants(x, linear, label, kernels)
            if not transforms:
                variants |= _peer_variants(x, linear, moved)
                fused |= producers.quantised(role, x, linear, kernels)
    variants |= library.int8(x, weight)
    variants |= library.fp8(x, weight16, bias16)
    if fused:
        variants |= fused | producers.float16(role, x, product16) | producers.fp8(role, x, weight16, bias16)
    variants["fp32 (extra)"] = Variant(partial(F.linear, x32, weight, bias))
    emulated = QuantLinear.from_float(weight, bias, schemes[0]).to(device)
    variants[f"{schemes[0]} emulated (extra)"] = Variant(partial(execute, x, emulated))
    return variants


def _our_variants(x: Tensor, linear: QuantLinear, label: str, kernels: Sequence[type[Kernel]]) -> dict[str, Variant]:
    """The kernel that takes ``linear``, and its parts where there is no transform; or why there is none."""
    name, (tokens, width), out = f"{linear.scheme}{label}", x.shape, linear.out_features
    kernel, how = seat(linear, kernels)
    if not isinstance(kernel, Kernel):
        return {} if label else {name: Variant(None, about={"refused": how.reasons})}
    packed, about = how.weights * how.weight_bits / 8, {"kernel": how.kernel, "scheme": str(linear.scheme)}
    whole = Variant(partial(kernel, x), kernel.integer, 2 * tokens * (width + out) + packed, about=about)
    if label or not isinstance(kernel, IntegerKernel):
        return {name: whole}
    codes, read = kernel.quantize(x, BF16), tokens * width + packed
    return {
        name: whole,
        f"{name} without quantiser": Variant(
            partial(kernel.multiply, codes), True, read + 2 * tokens * out, about=about
        ),
        f"{name} sums only": Variant(partial(kernel.accumulate, codes), True, read + 4 * tokens * out, about=about),
    }


def _peer_variants(x: Tensor, linear: QuantLinear, moved: float) -> dict[str, Variant]:
    """Kernels of other people that run ``linear`` here, by scheme and backend; ``moved``: bytes of input and output."""
    variants = {}
    for name, kernel in ((peer, kernel) for peer in PEERS for kernel in find_backend(peer).classes()):
        if kernel.device_type == x.device.type and kernel.missing() is None and kernel.refusal(linear) is None:
            made = cache(partial(kernel, linear))  # at the first call: a library that fails costs its own variant only
            traffic = moved + linear.codes.numel() * linear.scheme.weight_bits / 8
            about = {"kernel": kernel.name, "scheme": str(linear.scheme), "version": package_version(name)}
            variants[f"{linear.scheme} {name}"] = Variant(partial(_call, made, x), kernel.integer, traffic, about=about)
    return variants


def _call(made: Callable[[], nn.Module], x: Tensor) -> object:
    return made()(x)


def _hadamard(width: int, device: torch.device) -> Transform:
    return Hadamard.random(width, torch.Generator().manual_seed(0)).to(device)


def _kronecker(width: int, device: torch.device) -> Transform:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=generator))[0] for n in balanced_factors(width))
    return Kronecker(left, right).to(device)


@dataclass(frozen=True)
class Arm:
    """A deployed network, with what is known of it: a variant of every case that runs networks."""

    model: AlternatingModel
    about: dict[str, Any]


def network_cases(subjects: Sequence[str], arms: Mapping[str, Arm], frames: Sequence[int], size: int) -> Iterator[Case]:
    """Blocks, aggregator and whole network (those that are among ``subjects``) on ``frames`` images of ``size`` pixels;
    images are random.
    """
    runs: dict[str, RunOf] = {"aggregator": _aggregator, "model": _whole}
    for subject in subjects:
        for count in frames:
            about = {"frames": count, "image_size": size}
            if subject == "blocks":
                for kind in ("frame", "global"):
                    build = partial(_block_variants, arms, kind, count, size)
                    yield Case("blocks", f"{kind}-{count}x{size}", {**about, "block": kind}, build)
            elif subject in runs:
                yield Case(subject, f"{count}x{size}", about, partial(_variants, arms, runs[subject], count, size))


def _variants(arms: Mapping[str, Arm], run: RunOf, frames: int, size: int) -> dict[str, Variant]:
    return {
        name: Variant(run(arm.model, frames, size), module=arm.model, about=arm.about) for name, arm in arms.items()
    }


def _images(model: AlternatingModel, frames: int, size: int) -> Tensor:
    generator = torch.Generator(model.device).manual_seed(0)
    return torch.rand(1, frames, 3, size, size, device=model.device, generator=generator).to(BF16)


def _aggregator(model: AlternatingModel, frames: int, size: int) -> Callable[[], object]:
    return partial(model.trunk.levels, _images(model, frames, size), model.kept_levels)


def _whole(model: AlternatingModel, frames: int, size: int) -> Callable[[], object]:
    return partial(model, _images(model, frames, size))


def _block_variants(arms: Mapping[str, Arm], kind: str, frames: int, size: int) -> dict[str, Variant]:
    variants = {}
    for name, arm in arms.items():
        trunk = arm.model.trunk
        block = trunk.level(0)[kind == "global"][1]
        rotaries = trunk.rotary((size, size), frames, arm.model.device)
        tokens, rotary = rotaries[0][0].shape[0], rotaries[kind == "global"]
        shape = (frames, tokens) if kind == "frame" else (1, frames * tokens)
        generator = torch.Generator(arm.model.device).manual_seed(0)
        x = torch.randn(*shape, arm.model.config.dim, device=arm.model.device, generator=generator).to(BF16)
        variants[name] = Variant(partial(call_stage, block, x, rotary), module=block, about=arm.about)
    return variants
