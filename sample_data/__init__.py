"""Data that ships with the workbench, and the commands that rebuild it."""
