"""From a user's folder or table to samples: reading, decoding, curating, splitting, augmenting, streaming."""
