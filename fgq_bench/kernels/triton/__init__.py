"""Matrix products of integer codes as Triton kernels: plain tensors in and out (see ``fgq_bench.kernels``)."""
