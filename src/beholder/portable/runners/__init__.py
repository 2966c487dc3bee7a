"""Programs that are written beside an exported model; they know nothing of beholder."""
