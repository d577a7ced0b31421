"""Which measured costs of calibration are stored."""

from __future__ import annotations

from fgq_bench.results import Result, Store


def read_costs(store: Store) -> list[Result]:
    """Every stored result of ``fgq-bench cost``, failed ones too, in path order: model, machine, method, scheme.

    Metrics (see ``fgq_bench.cost``): ``seconds`` in all, ``cpu_seconds``, ``<stage>_seconds`` of every stage in
    ``cost.STAGES``, ``peak_host_bytes`` where the kernel tells, ``peak_device_bytes`` on CUDA only.
    """
    paths = sorted(store.root.glob("*/calibration/*/*.json"))
    results = [store.read(path) for path in paths if not path.name.endswith(".meta.json")]
    return [each for each in results if each.kind == "calibration"]
