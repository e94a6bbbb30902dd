"""The active-learning loop: rounds, the pool, the expert."""
