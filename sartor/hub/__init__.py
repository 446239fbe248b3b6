"""Source models: the catalogue of bases, fetching and verifying them."""
