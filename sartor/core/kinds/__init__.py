"""Kinds of answers that a task can have, one file a kind: how beliefs become the least-cost answer."""
