"""Runtimes, one file an engine."""
