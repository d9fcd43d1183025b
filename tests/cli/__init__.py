"""The `cumulo` command."""
