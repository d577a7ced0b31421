"""Training of the embedded tiny models on procedural scenes."""
