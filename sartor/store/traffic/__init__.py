"""What happened: the segment log that is the truth, the index over it, and the keys of subjects."""
