"""What holds a reply to a shape: grammars as callers write them, and what makes masks of them."""
