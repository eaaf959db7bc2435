"""The plain values that the store takes and returns; they import nothing else of `db`."""
