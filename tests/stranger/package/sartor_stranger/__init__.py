"""A recipe, a metric and a source for Sartor, from outside."""
