"""What gives the parts of a designed reward their values, kind by kind."""
