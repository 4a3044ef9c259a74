"""The command line: one file per command, which reads files, calls a stage, and writes files."""
