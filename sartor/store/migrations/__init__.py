"""How a ledger's tables became what they are, one file per change."""
