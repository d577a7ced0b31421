"""Which measured costs of calibration are stored."""

from __future__ import annotations

from fgq_bench.results import Result, Store


def read_costs(store: Store) -> list[Result]:
    """Every stored result of ``fgq-bench cost`` that can be read, failed ones too, in path order: model, machine, method, scheme.

    Metrics (see ``fgq_bench.cost``): ``seconds`` in all, ``cpu_seconds``, ``<stage>_seconds`` of every stage in
    ``cost.STAGES``, ``peak_host_bytes`` where the kernel tells, ``peak_device_bytes`` on CUDA only.
    """
    results = store.readable(store.root.glob("*/calibration/*/*.json"))
    return [each for each in results if each.kind == "calibration"]
