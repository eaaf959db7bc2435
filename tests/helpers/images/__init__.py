"""Images and data sets that tests make."""
