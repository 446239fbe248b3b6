"""The command line: one file per noun, all of them thin."""
