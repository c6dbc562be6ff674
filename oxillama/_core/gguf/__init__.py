"""GGUF files: the mapped bytes, their values and types."""
