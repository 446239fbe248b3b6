"""Inspect: metrics, statistics, gates, the report."""
