"""How other servers are spoken to."""
