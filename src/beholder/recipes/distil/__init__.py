"""`distil`: a small model that says what a large one says, and what that costs."""
