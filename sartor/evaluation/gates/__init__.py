"""Policies that turn evidence into a verdict, each with a version: an old decision is replayed under its own."""
