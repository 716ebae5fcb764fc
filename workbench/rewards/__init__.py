"""Scores for answers: neural and by rule."""
