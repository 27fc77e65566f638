"""Scenes to a reference set: scan, stack, resume, executors."""
