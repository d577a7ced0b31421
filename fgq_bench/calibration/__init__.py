"""Calibration: which sequences (``manifest``), the streamed pass over the float model (``stream``), what is kept of it."""
