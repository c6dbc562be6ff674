"""The request ring; nothing of it is visible to Python."""
