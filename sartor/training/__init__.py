"""Make variants: recipes and calibration."""
