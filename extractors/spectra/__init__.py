"""Spectral features of sound with fixed recipes: pure functions on arrays, no weights, no files, no torch.

All of them compute in float64, row by row, in an order that does not depend on how many rows there are: the rows of an
hour are bit for bit those of its pieces, on any number of threads.
"""
