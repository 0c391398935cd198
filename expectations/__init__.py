"""What must hold of an hour before anybody sees it, as Great Expectations suites.

The library would tell its maker what it is used for; this switches that off, and has to come before its import.
"""

import os

os.environ["GX_ANALYTICS_ENABLED"] = "false"
