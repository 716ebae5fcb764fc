"""The only place for transformers and peft."""
