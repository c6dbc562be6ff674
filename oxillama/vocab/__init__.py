"""One module per vocabulary family of GGUF files, and what they share. Internal; the public face is ``Tokenizer``."""
