"""Source and curate data: sources, curators, splits, snapshots."""
