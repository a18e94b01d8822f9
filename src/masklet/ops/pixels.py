"""The colours that every model expects: RGB in 0 to 1, less ImageNet's mean, over its standard deviation."""

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)
