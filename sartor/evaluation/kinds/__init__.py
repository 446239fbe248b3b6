"""Kinds of answers, one file a kind: the terms under which they are judged."""
