"""Whole ways through the system, from media to report; beside the command, only these modules may import everything."""
