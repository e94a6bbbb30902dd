"""What experts say: storage of rounds and annotations, and the simulated expert."""
