"""Agreement between readers, the effect of the reveal, and words that identify people."""
