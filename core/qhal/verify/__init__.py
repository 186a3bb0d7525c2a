"""Verification: the artifact against the oracle and against the user's float model."""

from qhal.verify.accuracy import check_labels
from qhal.verify.evaluation import Evaluation
from qhal.verify.reference import FloatReference, check_import
from qhal.verify.rewritten import check_rewritten
from qhal.verify.verification import (
    FEWEST_SAMPLES,
    ORACLE_BUDGET_S,
    ORACLE_MACS_PER_S,
    ORACLE_SAMPLES,
    RUNNER_BUDGET_S,
    Verification,
    verify,
)

__all__ = [
    "FEWEST_SAMPLES",
    "ORACLE_BUDGET_S",
    "ORACLE_MACS_PER_S",
    "ORACLE_SAMPLES",
    "RUNNER_BUDGET_S",
    "Evaluation",
    "FloatReference",
    "Verification",
    "check_import",
    "check_labels",
    "check_rewritten",
    "verify",
]
