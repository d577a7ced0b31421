"""What the papers' words mean here: their units, methods, schemes, data sets and metrics in this project's names."""

from __future__ import annotations

import re

UNITS: dict[str, tuple[str, float]] = {
    "%": ("fraction", 1e-2), "fraction": ("fraction", 1.0), "m": ("metres", 1.0), "mm": ("metres", 1e-3),
    "deg": ("degrees", 1.0), "ms": ("seconds", 1e-3), "s": ("seconds", 1.0), "min": ("seconds", 60.0),
    "h": ("seconds", 3600.0), "GB": ("bytes", 1e9), "GiB": ("bytes", 2.0**30), "MiB": ("bytes", 2.0**20),
    "x": ("ratio", 1.0), "TFLOP": ("operations", 1e12),
}  # fmt: skip
"""Printed unit -> this project's unit and the factor that leads there."""

ERRATA: dict[tuple[str, str], str] = {
    ("fgq", "NPD_percent_high_end"): "%",  # the transcription says h; its other end is in %
    ("concurrent", "peak_memory_MiB"): "MiB",  # the transcription leaves the unit empty
}
"""(paper, metric) -> the unit that the transcription gets wrong; the files stay byte copies."""

MODELS = {"VGGT-1B": "vggt-1b", "VGGT-1.2B": "vggt-1b", "Pi3": "pi3", "Fast3R": "fast3r"}

FULL_PRECISION = {"FP16", "FP32", "BF16", "Full Prec.", "Baseline", "VGGT"}
_CARDS = {
    "RTN": "rtn", "SmoothQuant": "smoothquant", "GPTQ": "gptq", "AWQ": "awq", "QuaRot": "quarot",
    "FlatQuant": "flatquant", "FGQ": "fgq", "QuantVGGT": "quantvggt", "QVGGT": "qvggt", "RTN (all off)": "rtn",
}  # fmt: skip
_ROWS = {
    "fgq": {
        "plain (no Fisher)": "fgq:uniform",
        "point Fisher": "fgq tasks=points",
        "camera Fisher": "fgq tasks=camera",
        "point+depth Fisher": "fgq tasks=depth+points",
        "camera+depth Fisher": "fgq tasks=camera+depth",
        "point+depth+camera Fisher": "fgq",
        "camera+depth+point Fisher": "fgq",
    },
    "quantvggt": {
        "DSFQ (Rotate then Scale)": "quantvggt",
        "Base (no smoothing)": "quantvggt rotation=false scale=false",
        "Rotation only": "quantvggt scale=false",
        "Scale only": "quantvggt rotation=false",
        "QuantVGGT w/o Hadamard": "quantvggt rotation=false",
        "Scale then Rotate": "quantvggt order=scale-rotate",
        "QuantVGGT (asymmetric)": "quantvggt",
        "static tensor-wise act": "quantvggt",
        "static token-wise act": "quantvggt",
        "dynamic tensor-wise act": "quantvggt",
        "dynamic token-wise act": "quantvggt",
        "QuantVGGT seed1 alpha0.5": "quantvggt",
        "QuantVGGT seed1 alpha0.3": "quantvggt alpha=0.3",
        "QuantVGGT seed1 alpha0.7": "quantvggt alpha=0.7",
        "QuantVGGT seed2 alpha0.5": "quantvggt seed=1",
        "QuantVGGT seed3 alpha0.5": "quantvggt seed=2",
        "QuantVGGT N=5": "quantvggt @nfds-5x10",
        "QuantVGGT N=10": "quantvggt @nfds-10x10",
        "QuantVGGT N=20": "quantvggt @nfds-20x10",
        "QuantVGGT N=40": "quantvggt",
        "QuantVGGT p=0.1": "quantvggt @nfds-40x10-p10",
        "QuantVGGT p=0.2": "quantvggt",
        "QuantVGGT p=0.3": "quantvggt @nfds-40x10-p30",
        "QuantVGGT K=6": "quantvggt @nfds-40x10-k6",
        "QuantVGGT K=8": "quantvggt",
        "QuantVGGT K=10": "quantvggt @nfds-40x10-k10",
        "QuantVGGT w/o filter": "quantvggt @clustered-40x10",
        "QuantVGGT w/o cluster": "quantvggt @filtered-40x10",
        "Random": "quantvggt @random-40x10",
        "Filtered": "quantvggt @filtered-40x10",
        "Clustered": "quantvggt @clustered-40x10",
        "NFDS": "quantvggt",
        "Frame (NFDS)": "quantvggt",
    },
    "qvggt": {
        "Q naive all blocks": "qvggt:q",
        "S selective mixed precision": "qvggt:s",
        "S+D token filter + CIC": "qvggt:sd",
        "S+D+T task-aware scales (QVGGT)": "qvggt",
        "QVGGT 16 calib images": "qvggt @random-4x4",
        "QVGGT 32 calib images": "qvggt @random-8x4",
        "QVGGT 128 calib images": "qvggt",
        "w/o CIC": "qvggt compensation=false",
        "with CIC": "qvggt",
    },
    "concurrent": {
        "W4A4 author checkpoint": "quantvggt",
        "no LWC": "quantvggt lwc=false",
        "no LAC": "quantvggt lac=false",
        "no smooth": "quantvggt scale=false",
        "no rotation": "quantvggt rotation=false",
    },
}
_SCHEME_FLAGS = {
    "QuantVGGT (asymmetric)": "-wasym-aasym",
    "static tensor-wise act": "-astatic-atensor",
    "static token-wise act": "-astatic",
    "dynamic tensor-wise act": "-atensor",
}
_GROUPED = 128  # inputs to a scale wherever QVGGT's paper quantizes weights only

_DATASETS = {
    "fgq": {
        "CO3Dv2": ("co3dv2", "fgq"), "Re10K": ("re10k", "fgq"), "7-Scenes (sparse)": ("7scenes", "fgq"),
        "ETH3D": ("eth3d", "fgq"), "DTU": ("dtu", "fgq"), "KITTI mono depth": ("kitti-mono", "fgq"),
        "KITTI video depth": ("kitti-video", "fgq"),
    },
    "quantvggt": {
        "CO3Dv2 (10 frames)": ("co3dv2", "quantvggt"), "CO3Dv2": ("co3dv2", "quantvggt"),
        "CO3Dv2 (20 frames)": ("co3dv2", "quantvggt-20"),
        "CO3Dv2 (10 frames, first 200 seq/class)": ("co3dv2", "quantvggt-200"),
        "CO3Dv2 (10 frames, first 200 seq/class presumed)": ("co3dv2", "quantvggt-200"),
        "CO3Dv2 (calib pool: first-frame cos<0.1)": ("co3dv2", "quantvggt-200"),
        "7-Scenes": ("7scenes", "quantvggt"), "NRGBD": ("nrgbd", "quantvggt"),
        "DTU (keyframe every 5)": ("dtu", "quantvggt"),
    },
    "qvggt": {
        "CO3Dv2 (10 frames)": ("co3dv2", "qvggt"), "Re10K (10 frames)": ("re10k", "qvggt"),
        "7-Scenes": ("7scenes", "qvggt"), "NRGBD": ("nrgbd", "qvggt"),
    },
}  # fmt: skip
_POINTS = {
    ("fgq", "7scenes"): ("pointmap", "depth+camera"),
    ("fgq", "dtu"): ("pointmap-mm", "depth+camera"),
    ("fgq", "eth3d"): ("pointmap", "depth+camera"),
    ("quantvggt", "dtu"): ("pointmap-mm", "points"),
    ("quantvggt", "7scenes"): ("pointmap-median", "points"),
    ("quantvggt", "nrgbd"): ("pointmap-median", "points"),
    ("qvggt", "7scenes"): ("pointmap-median", "points"),
    ("qvggt", "nrgbd"): ("pointmap-median", "points"),
}
_DEPTH = {"AbsRel": "abs_rel", "SqRel": "sq_rel", "RMSE": "rmse", "delta<1.25": "delta_1.25"}


def method_label(paper: str, method: str) -> str:
    """``METHOD[:PRESET] [KEY=VALUE ...] [@CALIBRATION]`` of a report's row, or the method as it is printed."""
    if method in FULL_PRECISION:
        return "fp"
    return _ROWS[paper].get(method) or _CARDS.get(method, method)


def scheme_name(paper: str, method: str, bits: str) -> str:
    """A scheme such as ``w4a4``, or the bits as they are printed."""
    if bits in ("FP16", "BF16", "W16A16"):
        return "w16a16"
    if not re.fullmatch(r"W[0-9]+A[0-9]+", bits):
        return bits
    group = f"g{_GROUPED}" if paper == "qvggt" and bits == "W4A16" and method != "QuantVGGT" else ""
    return bits.lower() + group + _SCHEME_FLAGS.get(method, "")


def dataset_card(paper: str, model: str, dataset: str) -> tuple[str, str | None]:
    """Data set card and protocol card, or the data set as it is printed and None.

    π³ sees its own picture sizes; which ones FGQ gave it is not known.
    """
    name, protocol = _DATASETS.get(paper, {}).get(dataset, (dataset, None))
    return name, "pi3" if protocol and model == "pi3" else protocol


def metric_name(paper: str, metric: str, aggregation: str, dataset: str, protocol: str | None) -> str:
    """``task.metric[/category]`` on a data set of this project, or the metric as it is printed."""
    if protocol is None:
        return metric
    if re.fullmatch(r"AUC@[0-9]+", metric):
        task = "pose-first-camera" if paper == "quantvggt" else "pose"
        return f"{task}.{metric.lower()}" + ("/category" if dataset == "co3dv2" else "")
    if metric in _DEPTH:
        return f"depth-l1.{_DEPTH[metric]}_scale"
    if metric in ("Acc", "Comp", "NC"):
        task, source = _POINTS[paper, dataset]
        return f"{task}.{metric.lower()}_{aggregation.split()[-1]}_{source}"
    return metric
