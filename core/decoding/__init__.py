"""How each format of image file becomes sRGB pixels; `core.imaging.decode` decides which one is asked."""
