"""What fills the contract of a constraint: llguidance, by its C functions or by its Python classes."""
