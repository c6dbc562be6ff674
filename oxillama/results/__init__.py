"""What comes back: completions, chat replies, statistics."""
