"""The KV block pool; nothing of it is visible to Python."""
