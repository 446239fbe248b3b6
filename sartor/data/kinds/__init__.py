"""Kinds of answers in rows, one file a kind."""
