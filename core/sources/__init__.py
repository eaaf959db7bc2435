"""What public datasets look like on disk: names, official counts, fold lists, hashes of pictures."""
