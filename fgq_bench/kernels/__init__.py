"""Backends: who executes a quantized linear. ``reference`` is the definition of truth."""
