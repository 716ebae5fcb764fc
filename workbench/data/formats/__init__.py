"""Readers and writers of prompt and preference files."""
