"""Ways to make a variant, one file a recipe."""
