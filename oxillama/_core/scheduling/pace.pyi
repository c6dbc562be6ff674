"""The measured pace of steps; nothing of it is visible to Python."""
