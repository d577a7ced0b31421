"""The matrix kernels compiled ahead of time for every tile of the table: no GPU needed.

One subprocess, in which nothing is interpreted. What is asserted is what a change of Triton or of a kernel would break
silently: tensor cores of the generation, no spilled registers, shared memory that fits, a main loop that stays short.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHARED = {80: 163, 89: 99, 90: 227}  # KB of shared memory that a program may take
MMA = ("IMMA", "IGMMA", "HMMA", "HGMMA")  # integer and float, a warp's and (sm_90) a warpgroup's
INTEGERS = {"codes": "*i8", "scale": "*fp32", "weight_scale": "*fp32", "bias": "*fp32", "out": "*bf16"}
FLOATS = {"x": "*bf16", "weight_scale": "*fp32", "bias": "*fp32", "out": "*bf16"}
Job = tuple[str, Any, dict[str, str], dict[str, Any], Any]  # name, kernel, pointers, constants, tile


def jobs(generation: int) -> Iterator[Job]:
    """Every kernel with every tile that a GPU of this ``generation`` may pick."""
    from fgq_bench.kernels.triton import tiles
    from fgq_bench.kernels.triton.common import GROUP
    from fgq_bench.kernels.triton.dequantize import dequantize_kernel
    from fgq_bench.kernels.triton.expand import expand_kernel
    from fgq_bench.kernels.triton.int4_gemm import int4_kernel
    from fgq_bench.kernels.triton.int8_gemm import int8_kernel
    from fgq_bench.kernels.triton.packing import HALF
    from fgq_bench.kernels.triton.weight_only import weight_only_kernel

    plain, unpack = tiles.Tile(0, 0, 0, 4, 3), {"CHANNELS": 32, "HALF": HALF}  # Triton's defaults
    yield "expand", expand_kernel, {"packed": "*u8", "out": "*i8"}, unpack, plain
    matrix = {"weight": "*u8", "weight_scale": "*fp32", "weight_zero": "*i8", "out": "*bf16"}
    yield "dequantize", dequantize_kernel, matrix, unpack | {"GROUP_SIZE": 64, "PACKED": True}, plain
    for table in (tiles.INT8, tiles.INT4, tiles.WEIGHT_ONLY):
        for tile in (row[-1] for row in table[generation]):
            size = {"TOKENS": tile.tokens, "CHANNELS": tile.channels, "GROUP": GROUP, "PLAIN": False, "RAW": False}
            name = f"{tile.tokens}x{tile.channels}x{tile.depth}"
            half = {"HALF": HALF, "STEP": tile.depth // 2}
            for even in (True, False) if table is not tiles.WEIGHT_ONLY else ():
                fixed = size | {"DEPTH": tile.depth, "EVEN": even}
                if table is tiles.INT8:
                    yield f"int8 {name} {even}", int8_kernel, INTEGERS | {"weight": "*i8"}, fixed, tile
                else:
                    yield f"int4 {name} {even}", int4_kernel, INTEGERS | {"packed": "*u8"}, fixed | half, tile
            if table is tiles.WEIGHT_ONLY:
                fixed = size | half | {"EVEN": True, "GROUPED": False, "GROUP_SIZE": 1024}
                grouped = {"GROUPED": True, "GROUP_SIZE": 64}
                w4, w8, zero = {"weight": "*u8"}, {"weight": "*i8", "weight_zero": "*i8"}, {"weight_zero": "*i8"}
                yield f"w4a16 {name}", weight_only_kernel, FLOATS | w4, fixed, tile
                yield f"w4a16g64 {name}", weight_only_kernel, FLOATS | w4 | zero, fixed | grouped, tile
                yield f"w8a16 {name}", weight_only_kernel, FLOATS | w8, fixed | {"HALF": 0}, tile


def compiled(kernel: Any, pointers: dict[str, str], fixed: dict[str, Any], tile: Any, generation: int) -> Any:
    """Compile as a launch would: pointers, widths and spans are multiples of 16; a missing tensor is None."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    numbers = ("tokens", "channels", "width", "size", "span", "scale_row", "scale_column", "zero_row", "zero_column")
    types = pointers | dict.fromkeys(numbers, "i32")
    signature = {name: types.get(name, "constexpr") for name in kernel.arg_names}
    constants = {(i,): fixed.get(name) for i, name in enumerate(kernel.arg_names) if name not in types}
    aligned = [(i,) for i, name in enumerate(kernel.arg_names) if name in {*pointers, *numbers[1:5]}]
    source = ASTSource(kernel, signature, constants, {i: [["tt.divisibility", 16]] for i in aligned})
    options = tile.options() | {"enable_fp_fusion": False}
    return triton.compile(source, target=GPUTarget("cuda", generation, 32), options=options)


def facts(binary: Any, path: Path) -> dict[str, Any]:
    """Registers, accesses to spilled ones, shared memory in bytes, products, instructions of the shortest loop of them."""
    import triton

    path.write_bytes(binary.asm["cubin"])
    command = [triton.knobs.nvidia.cuobjdump.path, "-sass", "-res-usage", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^\s+/\*([0-9a-f]+)\*/\s+(?:@!?U?P\w+ )?\s*([A-Z0-9]+)(.*);", text, re.MULTILINE)
    names = [name for _, name, _ in lines]
    index = {int(address, 16): place for place, (address, _, _) in enumerate(lines)}
    jumps = [(place, re.search(r"0x[0-9a-f]+", rest)) for place, (_, name, rest) in enumerate(lines) if name == "BRA"]
    loops = [names[index[int(to[0], 16)] : place + 1] for place, to in jumps if to and index[int(to[0], 16)] < place]
    return {
        "registers": int(re.findall(r"REG:(\d+)", text)[0]),
        "spilled": names.count("LDL") + names.count("STL"),
        "shared": binary.metadata.shared,
        "products": {name: names.count(name) for name in MMA if name in names},
        "loop": min((len(loop) for loop in loops if set(loop) & set(MMA)), default=0),
    }


def main(folder: Path) -> None:
    """Print the facts of every job and generation as JSON."""
    found = {
        f"{name} sm_{generation}": facts(compiled(kernel, pointers, fixed, tile, generation), folder / "kernel.cubin")
        for generation in SHARED
        for name, kernel, pointers, fixed, tile in jobs(generation)
    }
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
def test_every_tile_fits_the_machine(machine_code: dict[str, dict[str, Any]], generation: int) -> None:
    found = {name: kernel for name, kernel in machine_code.items() if name.endswith(f"sm_{generation}")}
    assert len(found) >= 21
    assert {name: kernel["spilled"] for name, kernel in found.items() if kernel["spilled"]} == {}
    limit = SHARED[generation] * 1024
    assert {name: kernel["shared"] for name, kernel in found.items() if kernel["shared"] > limit} == {}
    for name, kernel in found.items():
        if "x" not in name.split()[1]:  # unpacks only
            continue
        wide = generation >= 90 and not name.split()[1].startswith("16x")  # few tokens: see tiles.py
        kinds = ("IMMA", "IGMMA") if name.startswith("int") else ("HMMA", "HGMMA")
        assert set(kernel["products"]) == {kinds[wide]}, name


@pytest.mark.parametrize(
    ("kernel", "tile", "generation", "most"),  # measured with triton 3.6 and 3.7, and a tenth more
    [
        ("int8", "128x128x128", 80, 153),
        ("int4", "128x128x128", 80, 194),
        ("int8", "128x128x128", 90, 85),
        ("int4", "128x128x128", 90, 125),
    ],
)
def test_main_loop_is_short(
    machine_code: dict[str, dict[str, Any]], kernel: str, tile: str, generation: int, most: int
) -> None:
    """Unpacking without assembly would take about 100 instructions more than int8, instead of 36."""
    assert 0 < machine_code[f"{kernel} {tile} True sm_{generation}"]["loop"] <= most


if __name__ == "__main__":
    main(Path(sys.argv[1]))
