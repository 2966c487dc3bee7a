"""From the numbers of tokens to the numbers of the tokens that follow."""
