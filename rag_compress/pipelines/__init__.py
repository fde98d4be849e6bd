"""Ready-made pipelines: whole systems, put together from the other folders' parts."""
