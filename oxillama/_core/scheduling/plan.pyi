"""One step as data; nothing of it is visible to Python."""
