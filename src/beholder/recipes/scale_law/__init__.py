"""`scale-law`: the same sentences to models of growing size; one file for each stage of a run."""

from beholder.recipes.scale_law.run import run_scale_law, scale_law

__all__ = ["run_scale_law", "scale_law"]
