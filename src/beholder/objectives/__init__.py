"""What a model learns from: losses that are given the model, own what they need, and know no loop."""
