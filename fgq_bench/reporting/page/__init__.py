"""One self-contained HTML page of what is stored, and of the audit: nothing else is computed, nothing is fetched when viewed."""
