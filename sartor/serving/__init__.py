"""Turn variants into predictors."""
