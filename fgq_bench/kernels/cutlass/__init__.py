"""The int8 product in CUTLASS (C++, Hopper): sums that are awaited asynchronously, which Triton's are not."""
