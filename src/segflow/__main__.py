"""`python -m segflow`: the same as `segflow`."""

import sys

from segflow.commands.main import main

sys.exit(main())
