"""One self-contained HTML page of everything that is stored: nothing is computed, nothing is fetched when it is viewed."""
