"""Data sets: frames on disk (or rendered) to ``Scene`` objects."""
