"""`tune`: a model of images and texts learns your own, and what that costs it elsewhere is told and bounded; one file a
stage, `run` has the order."""

from beholder.recipes.tune.run import tune

__all__ = ["tune"]
