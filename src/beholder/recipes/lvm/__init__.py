"""`train lvm`: pictures as sentences; one file for each stage of a run."""

from beholder.recipes.lvm.run import train_lvm

__all__ = ["train_lvm"]
