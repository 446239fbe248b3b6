"""Return: what became of the answers that went out."""
