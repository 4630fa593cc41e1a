"""Acting: the journal, the guards and the executor that carry out a plan, and nothing else."""
