"""Forms derived from settings models."""
