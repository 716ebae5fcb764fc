"""Item models over the experiment's database."""
