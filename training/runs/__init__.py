"""Training runs: plan, folder, parts, record, card and search."""
