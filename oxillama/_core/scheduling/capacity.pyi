"""The capacity of the queue; `waiter` is its Python side."""
