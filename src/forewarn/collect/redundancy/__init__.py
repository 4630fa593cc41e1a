"""Sets of drives that stand in for each other: which drives they are made of, and how many more may fail."""
