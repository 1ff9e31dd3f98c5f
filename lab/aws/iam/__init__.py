"""IAM of the local AWS: every role's call is judged by its own policies, as AWS judges it.

model, wildcards, keys, conditions and policies are the judge and know nothing of requests; calls reads a request;
the asks modules say what a call needs; principals knows who calls; guard puts them together.
"""

from lab.aws.iam.guard import Guard
from lab.aws.iam.model import Refusal

__all__ = ["Guard", "Refusal"]
