"""`train_describe`: a model that puts images into words, or answers questions about them."""

from beholder.recipes.describe.run import train_describe
from beholder.recipes.describe.settings import DescribeTraining

__all__ = ["DescribeTraining", "train_describe"]
