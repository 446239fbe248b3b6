"""Ways to answer a request from others: each wraps predictors and is one, so a route is judged like a model."""
