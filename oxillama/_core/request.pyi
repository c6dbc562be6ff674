"""The request struct; nothing of it is visible to Python."""
