"""Model families: configuration, module and presets of one family in one file; no loss is computed here."""
