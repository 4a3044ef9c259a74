"""Processes: a pool for cases, signals, locks, and GPUs shared by jobs."""
