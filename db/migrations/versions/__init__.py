"""One module per revision; a revision is never changed once released."""
