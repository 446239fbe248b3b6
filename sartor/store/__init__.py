"""The warehouse: ledger of records and pointers, vault of files."""
