"""Training: turns labelled passages into models. One file per model; needs the `torch` extra."""
