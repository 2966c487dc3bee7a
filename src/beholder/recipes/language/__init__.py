"""`train_language`: a language model of one's own texts, or a named one that goes on learning from them."""

from beholder.recipes.language.run import train_language
from beholder.recipes.language.settings import LanguageTraining

__all__ = ["LanguageTraining", "train_language"]
