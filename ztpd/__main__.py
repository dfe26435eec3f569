import sys

from ztpd.cli import main

sys.exit(main())
