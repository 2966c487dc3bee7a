"""`adapt`: from a folder of images to a model of that domain, with a verdict; one file a stage, `run` has the order."""

from beholder.recipes.adapt.run import adapt

__all__ = ["adapt"]
