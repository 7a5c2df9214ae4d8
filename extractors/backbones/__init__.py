"""One file per family of backbones, found by scanning; files that start with `_` belong to a family, and are none."""
