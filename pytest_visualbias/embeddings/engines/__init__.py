"""Ways to fill the cache: in this process, or by workers of a cluster. Neither judges anything."""
