"""The quantization core: schemes, the integer grid, packing, quantized linears and the quantized model."""
