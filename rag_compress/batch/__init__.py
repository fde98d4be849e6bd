"""Runs a method over a whole document store: restartable, on one machine or many, with memory that does not grow."""
