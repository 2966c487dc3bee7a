"""Complete runs, where data, tokenizer, model, objective and loop meet."""
