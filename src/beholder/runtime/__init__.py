"""The machine: devices, energy, seeds, the console, and run folders that never lose work."""
