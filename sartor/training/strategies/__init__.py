"""Ways to go on from the live variant, one file a strategy."""
