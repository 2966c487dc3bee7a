"""The one transformer that every family is a configuration of, in parts of one idea each."""
