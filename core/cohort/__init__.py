"""Score many images into one table: which images, one row for each, parts that survive a kill, other machines."""
