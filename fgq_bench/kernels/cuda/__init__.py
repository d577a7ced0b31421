"""Kernels for NVIDIA GPUs, made of the Triton functions in ``fgq_bench.kernels.triton``."""
