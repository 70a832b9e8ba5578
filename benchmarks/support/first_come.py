"""Runs a module of the service with a tenant's share so large that it holds nothing back: first come, first served.

``python -m benchmarks.support.first_come MODULE ARGUMENTS``. The share is a constant, not a setting: only this
comparison wants another one.
"""

import runpy
import sys

from ragline.common import constants

constants.TENANT_SHARE = 10**6
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
