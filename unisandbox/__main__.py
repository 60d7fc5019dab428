"""``python -m unisandbox``: the same as the command ``unisandbox``."""

from unisandbox.cli import main

raise SystemExit(main())
