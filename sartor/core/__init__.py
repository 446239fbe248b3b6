"""The words that every room shares: records, the one Predictor call, the value function, errors, the shelf."""
