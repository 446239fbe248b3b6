"""Where a variant can go: one file a target. Each writes the model; what every export has is written by `export`."""
