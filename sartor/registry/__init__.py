"""Stock: versions of variants, lineage, signing."""
