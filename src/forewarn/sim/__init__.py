"""A simulated world in which the production loop runs, on a real or a virtual clock."""
