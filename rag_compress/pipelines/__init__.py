"""Ready-made pipelines, and the ways in from other people's frameworks."""
