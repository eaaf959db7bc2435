"""How each format of image file becomes sRGB pixels; `core.images` decides which one is asked."""
