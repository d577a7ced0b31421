"""The fault campaign: ``python -m tests.faults`` (see ``__main__.py``)."""
