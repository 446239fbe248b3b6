"""What a text can be asked to fulfil, one file a scorer: (truth, answer, settings) -> 0 to 1."""
