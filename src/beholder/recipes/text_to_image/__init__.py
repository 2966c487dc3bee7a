"""`train text-to-image`: captions to pictures; one file for each stage of a run."""

from beholder.recipes.text_to_image.run import train_text_to_image

__all__ = ["train_text_to_image"]
