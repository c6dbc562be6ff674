"""Other engines' classes over this one, for programs that are on their way over. New code wants `oxillama.Engine`."""
