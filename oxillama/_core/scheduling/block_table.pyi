"""A request's block table; nothing of it is visible to Python."""
