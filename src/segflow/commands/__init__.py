"""The command line: one file per verb, which reads files, calls a stage, and writes files."""
