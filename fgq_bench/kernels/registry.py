"""Backends by name: which kernels may run a quantized model's linears; nothing heavy is imported until one is used."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from fgq_bench.errors import UserError
from fgq_bench.suggest import unknown

if TYPE_CHECKING:
    from fgq_bench.kernels.kernel import Kernel


@dataclass(frozen=True)
class Backend:
    """Kernels in order of preference: the first one that takes a layer runs it, ``reference`` runs the rest."""

    name: str
    summary: str
    kernels: tuple[str, ...]  # "module:Class" under fgq_bench.kernels
    preferred: tuple[str, ...] = ()  # come first; left out where the machine cannot run them

    def classes(self) -> list[type[Kernel]]:
        """Import the kernels, whether or not this machine can run them."""
        return [load_kernel(path) for path in (*self.preferred, *self.kernels)]

    def versions(self) -> dict[str, int]:
        """Kernels with their versions: they decide, with the name, what a stored result is worth."""
        return {kernel.name: kernel.version for kernel in self.classes()}

    def missing(self) -> str | None:
        """What this machine or installation lacks to run the backend, None where nothing is missing."""
        required = map(load_kernel, self.kernels)
        return next((lack for kernel in required if (lack := kernel.missing()) is not None), None)

    def left_out(self) -> dict[str, str]:
        """Preferred kernels that this machine or installation cannot run, by name, with the reason."""
        lacks = {kernel.name: kernel.missing() for kernel in map(load_kernel, self.preferred)}
        return {name: lack for name, lack in lacks.items() if lack is not None}

    def state(self) -> str:
        """For people: ``yes``, what is missing, or ``yes`` without which preferred kernels."""
        if lack := self.missing():
            return lack
        return "; ".join(["yes", *(f"without {name}: {why}" for name, why in self.left_out().items())])

    def load(self, device_type: str) -> list[type[Kernel]]:
        """The kernels, for a model on ``cpu`` or ``cuda``; the first time it may compile some, which takes minutes.

        Raises UserError where the machine lacks what one of them needs, or they are for another device.
        """
        lack = self.missing() or next((why for path in self.kernels if (why := load_kernel(path).prepare())), None)
        if lack:
            raise UserError(f"backend {self.name} cannot run here: {lack}")
        preferred = [kernel for kernel in map(load_kernel, self.preferred) if kernel.missing() is None]
        kernels = [kernel for kernel in preferred if kernel.prepare() is None] + [load_kernel(p) for p in self.kernels]
        if kernels and kernels[0].device_type != device_type:
            raise UserError(
                f"backend {self.name} runs on {kernels[0].device_type}, the model is on {device_type}: give --device "
                f"{kernels[0].device_type} or another backend"
            )
        return kernels


def load_kernel(path: str) -> type[Kernel]:
    """Import ``module:Class``."""
    module, _, name = path.partition(":")
    kernel: type[Kernel] = getattr(import_module(f"fgq_bench.kernels.{module}"), name)
    return kernel


CPU_INT8, CPU_INT4_WEIGHT = "cpu.int8:CpuInt8", "cpu.weight_only:CpuInt4Weight"
CUDA_INT8, CUDA_INT4, CUDA_INT4_WEIGHT = "cuda.int8:CudaInt8", "cuda.int4:CudaInt4", "cuda.weight_only:CudaInt4Weight"
CUTLASS = CUTLASS_INT4, CUTLASS_INT8 = "cuda.cutlass:CutlassInt4", "cuda.cutlass:CutlassInt8"
GEMLITE_INT8, GEMLITE_WEIGHT = "peers.gemlite:GemliteInt8", "peers.gemlite:GemliteWeight"
PEERS = ("torch-int8", "gemlite", "torchao")  # other people's kernels, timed beside ours where they are installed
BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("reference", "exact integer arithmetic in floating point, any device; slow, the definition of truth", ()),
        Backend("cpu", "the first kernel below that takes a layer", (CPU_INT8, CPU_INT4_WEIGHT)),
        Backend("cpu-int8", "W8A8, W4A8, W4A4 and narrower on a CPU: int8 product of oneDNN", (CPU_INT8,)),
        Backend("cpu-int4-weight", "W4A16 and narrower on a CPU: int4 product or unpacking, by tokens", (CPU_INT4_WEIGHT,)),
        Backend("cuda", "the first kernel below that takes a layer", (CUDA_INT4, CUDA_INT8, CUDA_INT4_WEIGHT), CUTLASS),
        Backend(
            "cuda-int8",
            "W8A8 and narrower on an NVIDIA GPU: int8 tensor cores (CUTLASS on Hopper, else Triton)",
            (CUDA_INT8,),
            (CUTLASS_INT8,),
        ),
        Backend(
            "cuda-int4",
            "W4A4, W4A8, W4A16 on an NVIDIA GPU: weights of 4 bits in memory, int8 (as cuda-int8) or bf16 tensor cores",
            (CUDA_INT4, CUDA_INT4_WEIGHT),
            (CUTLASS_INT4,),
        ),
        Backend("cuda-triton", "cuda without CUTLASS, to compare", (CUDA_INT4, CUDA_INT8, CUDA_INT4_WEIGHT)),
        Backend("cuda-cutlass", "cuda's integer layers with CUTLASS or not at all (Hopper, nvcc at first use)", CUTLASS),
        Backend("torch-int8", "peer: W8A8 and narrower by torch._int_mm, our quantiser", ("peers.torch_int8:TorchInt8",)),
        Backend("gemlite", "peer: W8A8, W4A8 and W4A16 by gemlite's Triton layers", (GEMLITE_INT8, GEMLITE_WEIGHT)),
        Backend("torchao", "peer: W8A8 and narrower by torchao's compiled product, our quantiser", ("peers.torchao:Torchao",)),
    )
}  # fmt: skip


def find_backend(name: str) -> Backend:
    """The backend called ``name``; raises UserError with the nearest names."""
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)
    return BACKENDS[name]
