"""Executors: who computes the runs of a sweep; ``base.py`` is the tutorial."""
