"""P-values of permutation tests: exact, bounded, approximate or sampled."""
