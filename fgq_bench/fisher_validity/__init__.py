"""Does Fisher information say what quantization noise costs a task? The experiment that the papers leave out."""
