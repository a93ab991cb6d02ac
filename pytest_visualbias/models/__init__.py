"""Where embeddings come from: what an encoder is, and the sources of encoders."""
