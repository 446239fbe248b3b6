"""Traffic: the log of exchanges and feedback that is the truth, its index, old segments, keys of subjects."""
