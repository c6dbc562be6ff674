"""The room of the queue; `ticket` is its Python side."""
