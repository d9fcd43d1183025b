"""The native engine, driven by its private interface against the fault server: what it promises, a topic a file."""
