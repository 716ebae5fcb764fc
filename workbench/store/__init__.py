"""The experiment folder: SQLite and files. No torch."""
