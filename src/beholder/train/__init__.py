"""The training loop and its parts: optimizer, schedule, average, state, step, loop."""
