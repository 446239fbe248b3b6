"""Turn the wheel: one file per verb, the memo."""
