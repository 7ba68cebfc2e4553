"""Where live poses go: one file per kind of receiver, all behind ``output.Output``."""
