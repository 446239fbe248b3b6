"""Figures, one file a metric."""
