"""Scores of prompt tokens; nothing of it is visible to Python."""
