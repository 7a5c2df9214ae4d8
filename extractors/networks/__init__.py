"""Torch modules without any input or output of their own: heads and encoders may build on them too."""
