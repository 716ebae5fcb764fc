"""The window. The only place for Qt; never torch."""
