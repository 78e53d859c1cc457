"""From what stages measured to bound curves, and the tables of them."""
