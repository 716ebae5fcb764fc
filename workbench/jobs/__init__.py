"""Background work: one thread, a queue, a journal. No Qt."""
