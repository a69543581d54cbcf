"""What runs and what has been computed, for people who look at a folder of results."""
