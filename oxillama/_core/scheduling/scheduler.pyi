"""The scheduler; nothing of it is visible to Python."""
