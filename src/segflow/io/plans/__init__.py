"""plans.json and what stages read of it, the fingerprint and the folds: files in and out.

Names are only passed on here, so that a stage depends on the module that it really reads with.
"""

from segflow.io.plans.files import custom_configurations, read_plan, write_plan
from segflow.io.plans.fingerprint import read_fingerprint
from segflow.io.plans.folds import read_folds, write_folds
from segflow.io.plans.parts import read_configuration, read_preparation, write_parts
from segflow.io.plans.peer import plan_from_json
from segflow.io.plans.written import plan_to_json

__all__ = [
    "custom_configurations",
    "plan_from_json",
    "plan_to_json",
    "read_configuration",
    "read_fingerprint",
    "read_folds",
    "read_plan",
    "read_preparation",
    "write_folds",
    "write_parts",
    "write_plan",
]
