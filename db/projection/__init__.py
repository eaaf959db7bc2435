"""What the worklists show and what agreement counts, kept beside the rows from which it is derived."""
