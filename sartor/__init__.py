"""Made-to-measure models."""
