"""What the CLI's verbs do; imported only when a verb runs."""
