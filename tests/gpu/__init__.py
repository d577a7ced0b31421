"""Check and measure a machine with an NVIDIA GPU: ``make gpu``, or ``python -m tests.gpu``."""
