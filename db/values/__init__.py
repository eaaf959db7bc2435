"""Plain values that the store takes and returns; they import nothing else from `db`."""
