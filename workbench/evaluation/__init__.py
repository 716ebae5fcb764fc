"""Before and after, with intervals."""
