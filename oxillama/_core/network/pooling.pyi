"""Pooling of hidden states; nothing of it is visible to Python."""
