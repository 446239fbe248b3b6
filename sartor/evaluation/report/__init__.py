"""The report of a run: plain data (`view`), and one self-contained page drawn from it (`render`)."""
