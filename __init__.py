"""cuebank: run frozen audiovisual backbones once, keep their features in a store, train small heads from the store alone."""

__version__ = "0.1.0"
