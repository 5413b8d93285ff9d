"""The pages of the receiving room, one module per page."""
