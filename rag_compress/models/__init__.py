"""Everything that runs a model: behind `protocols.py`, in strings and arrays."""
