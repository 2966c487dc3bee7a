"""The version, in one place for the package, its results and its model cards."""

VERSION = "0.1.0"
