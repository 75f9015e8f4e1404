"""`python -m service` is `jay-tracking`."""

import sys

from service.cli import main

sys.exit(main())
