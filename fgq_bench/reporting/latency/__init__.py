"""Latency results to tables and figures: from stored files alone, nothing is timed or computed on a device."""
