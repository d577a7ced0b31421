"""Kernels for x86 processors, on oneDNN's and PyTorch's integer products."""
