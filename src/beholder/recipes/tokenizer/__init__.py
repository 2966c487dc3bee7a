"""`train tokenizer`: a discrete image tokenizer of one's own pictures, one file a stage."""

from beholder.recipes.tokenizer.run import train_tokenizer

__all__ = ["train_tokenizer"]
