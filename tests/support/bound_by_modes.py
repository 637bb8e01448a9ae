"""Files' modes bind root too: for a worker that is started with `-I support.bound_by_modes`.

Tests may run as root, whom no folder refuses. The process gives up that right, by starting itself
anew without it; any other user never had it.
"""

import ctypes
import os
import sys

CAP_DAC_OVERRIDE = 1
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
"""Of Linux' <linux/capability.h> and <linux/prctl.h>."""

if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_CAPBSET_READ, CAP_DAC_OVERRIDE, 0, 0, 0) == 1:
        if libc.prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "can't give up CAP_DAC_OVERRIDE")
        os.execv(sys.executable, sys.orig_argv)
