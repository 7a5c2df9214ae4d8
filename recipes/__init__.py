"""Whole ways through the system, from media to report: the only modules beside the command that may import everything."""
