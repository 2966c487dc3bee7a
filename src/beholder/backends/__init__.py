"""Ways to run a finished model faster: the same outputs, within a bound that is checked when a model is prepared."""
