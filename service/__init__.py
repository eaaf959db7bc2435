"""Everything that runs alongside the pages: the gate, HTTP routes, image intake, exports and the analysis worker."""
