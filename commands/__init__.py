"""The commands, a file each or a few that belong together; `cli` puts them under one name."""
