"""Quantizers: compilers from a float model to a ``QuantizedModel``. One file per method; start with ``base.py``."""
