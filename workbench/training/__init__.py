"""One file per algorithm: train(...) yields events."""
