"""What the tests reach of the core. Built in a checkout, not part of a wheel."""
