"""Feed-forward 3D reconstruction transformers, their checkpoints and the embedded tiny weights."""
