"""Files that stages write and read again: whole or absent, and never unpickled."""
