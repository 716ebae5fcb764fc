"""What a designed reward is made of: `part` says what a part is, `kinds` has one class per kind."""
