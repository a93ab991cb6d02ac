"""A tiny network that tells discs from triangles, and how it is trained."""
