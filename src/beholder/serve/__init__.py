"""Models behind an address that OpenAI's clients speak."""
