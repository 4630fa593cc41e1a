"""The VM placement services: what is where, and moving it. One driver is one file; drivers do not know each other."""
