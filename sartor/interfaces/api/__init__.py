"""The control plane: a versioned HTTP mirror of the verbs of the command line."""
