"""What a bias spec says: its schema, its text, and the stimuli it names."""
