"""Files in and out: the only place, with the commands, that knows about paths."""
