"""Reports: stored results to tables; nothing here computes a metric."""
