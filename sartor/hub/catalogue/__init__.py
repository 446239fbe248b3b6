"""Bases, one file a family."""
