"""Speed and memory against peers, as ratios of runs that were made side by side."""
