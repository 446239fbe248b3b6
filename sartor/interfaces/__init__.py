"""How people come in: CLI, Python, HTTP."""
