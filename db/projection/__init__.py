"""What the worklists show, kept beside the rows from which it is derived, in the same transaction."""
