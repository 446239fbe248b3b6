"""HTTP/1.1 for the data plane: the server side and the client side. Knows no routes, keys or models."""
