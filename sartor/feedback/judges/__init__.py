"""Who else may say whether an answer was right; each is measured on people's answers before its word counts."""
