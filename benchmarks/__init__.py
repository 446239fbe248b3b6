"""One file per claim. `python -m benchmarks NAME [--json]` prints a table, then one JSON object last."""
