"""Image files to pixels, patches, stain, quality and heat maps."""
