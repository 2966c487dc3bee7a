"""`train masked`: masked visual tokens; one file for each stage of a run."""

from beholder.recipes.masked.run import train_masked

__all__ = ["train_masked"]
