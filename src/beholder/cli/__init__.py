"""The command line: `main` finds the verb's file and imports only that one."""
