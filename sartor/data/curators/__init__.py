"""What is done to rows, one file a curator."""
