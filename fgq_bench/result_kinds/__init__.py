"""What the results of each kind hold."""
