"""cuebank: frozen audiovisual backbones run once, their features kept in a store, small heads trained from it."""

__version__ = "0.1.0"
