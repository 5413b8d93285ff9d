"""The story of a case."""
