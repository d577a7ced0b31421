"""The quantising kernels compiled ahead of time: no GPU needed, one subprocess in which nothing is interpreted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SHARED = {80: 163, 89: 99, 90: 227}  # KB of shared memory that a program may take
WIDTHS = (1024, 4096)
ROWS = {"x": "*bf16", "codes": "*i8", "scales": "*fp32"}
TRANSFORM = {"x": "*bf16", "out": "*i8", "scales": "*fp32", "left": "*fp16", "right": "*fp16", "rows": "i32"}
VECTORS = {"clip": "*fp32", "diagonal": "*fp32"}
KERNELS: dict[str, tuple[str, dict[str, str]]] = {  # module and kernel, its arguments that are not None
    "quantize": ("quantize:quantize_kernel", ROWS | VECTORS),
    "layer norm": ("producers:layer_norm_kernel", ROWS | VECTORS | {"weight": "*bf16", "bias": "*bf16", "eps": "fp32"}),
    "gelu": ("producers:gelu_kernel", ROWS | VECTORS),
    "hadamard": ("transform:transform_kernel", TRANSFORM | {"signs": "*i8"}),
    "hadamard alone": ("transform:transform_kernel", TRANSFORM | {"signs": "*i8", "out": "*bf16", "scales": ""}),
    "kronecker": ("transform:transform_kernel", TRANSFORM | {"before": "*fp32", "clip": "*fp32"}),
    "kronecker plain": ("transform:transform_kernel", TRANSFORM),
    "left factor": ("transform:transform_kernel", TRANSFORM | {"right": ""}),
}


def constants(kernel: Any, pointers: dict[str, str], width: int, generation: int) -> dict[str, Any]:
    """What the launch code passes besides tensors; launch options are among it."""
    from fgq_bench.kernels.triton.quantize import row_launch
    from fgq_bench.kernels.triton.transform import block_launch

    common = {"lowest": -128, "highest": 127}
    if "rows" not in kernel.arg_names:
        return common | row_launch(width)
    a = 16 if "right" not in pointers else int(width**0.5)
    b = width // a
    return (
        common
        | {"factor": width**-0.5, "A": a, "B": b, "EXACT": "before" not in pointers}
        | block_launch(a, b, generation, plain=not {"clip", "before"} & pointers.keys())
    )


def compiled(kernel: Any, pointers: dict[str, str], width: int, generation: int) -> Any:
    """Compile as a launch would, with pointers that are multiples of 16 bytes."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    values, names = constants(kernel, pointers, width, generation), kernel.arg_names
    signature = {name: pointers.get(name, "constexpr") for name in names}
    fixed = {(index,): values.get(name) for index, name in enumerate(names) if name not in pointers}
    aligned = [(index,) for index, name in enumerate(names) if signature[name].startswith("*")]
    source = ASTSource(kernel, signature, fixed, {index: [["tt.divisibility", 16]] for index in aligned})
    options = {name: value for name, value in values.items() if name.startswith("num_") or name == "maxnreg"}
    return triton.compile(source, target=GPUTarget("cuda", generation, 32), options=options)


def facts(binary: Any, path: Path) -> dict[str, Any]:
    """Registers, spilled bytes, shared memory in bytes, and how often some PTX instructions occur."""
    import triton

    path.write_bytes(binary.asm["cubin"])
    command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    usage = {name: int(number) for name, number in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", text)}
    counts = {name: binary.asm["ptx"].count(name) for name in ("mma.sync", "wgmma.mma_async", "div.rn", "fma.rn")}
    return {
        "registers": usage["REG"],
        "spilled": usage["STACK"] + usage["LOCAL"],
        "shared": binary.metadata.shared,
    } | counts


def main(folder: Path) -> None:
    """Print the facts of every kernel, width and generation as JSON."""
    from importlib import import_module

    found = {}
    for name, (place, arguments) in KERNELS.items():
        module, _, function = place.partition(":")
        kernel = getattr(import_module(f"fgq_bench.kernels.triton.{module}"), function)
        pointers = {argument: kind for argument, kind in arguments.items() if kind}
        for width in WIDTHS:
            for generation in SHARED:
                binary = compiled(kernel, pointers, width, generation)
                found[f"{name} {width} sm_{generation}"] = facts(binary, folder / "kernel.cubin")
    print(json.dumps(found))


@pytest.fixture(scope="module")
def machine_code(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    pytest.importorskip("triton", reason="triton compiles these kernels, and is not installed")
    folder = tmp_path_factory.mktemp("triton")
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("generation", SHARED, ids=lambda generation: f"sm_{generation}")
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", KERNELS)
def test_fits_the_machine(machine_code: dict[str, dict[str, Any]], name: str, width: int, generation: int) -> None:
    found = machine_code[f"{name} {width} sm_{generation}"]
    assert found["spilled"] == 0
    assert found["registers"] <= 255
    assert found["shared"] <= SHARED[generation] * 1024
    assert found["div.rn"] <= 2, "divisions per row, none per element"


@pytest.mark.parametrize("name", ["hadamard", "hadamard alone", "kronecker"])
def test_products_run_on_tensor_cores(machine_code: dict[str, dict[str, Any]], name: str) -> None:
    for width in WIDTHS:
        for generation in SHARED:
            found = machine_code[f"{name} {width} sm_{generation}"]
            assert found["mma.sync"] + found["wgmma.mma_async"] > 0
    assert machine_code[f"{name} 4096 sm_90"]["wgmma.mma_async"] > 0, (
        "Hopper's own instruction, where factors are 64 wide"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
