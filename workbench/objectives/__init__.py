"""Pure tensor maths: no models, no I/O."""
