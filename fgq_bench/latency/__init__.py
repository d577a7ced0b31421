"""Latency: what is measured, with what clock, and what the hardware would allow."""
