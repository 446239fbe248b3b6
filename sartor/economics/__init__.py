"""Prices and unit costs."""
