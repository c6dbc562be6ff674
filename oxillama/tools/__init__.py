"""Tool calls and reasoning in replies: how a model writes them, read back and asked for by one record per template."""
