"""fgq-bench: post-training quantization of feed-forward 3D reconstruction transformers, compared fairly."""

__version__ = "0.1.0"
