"""The program of a model, and the threads that walk it."""
