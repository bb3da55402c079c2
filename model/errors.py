"""Errors that a person can act on: each says subject, value, rule and remedy."""

from __future__ import annotations

_LONGEST_VALUE = 80


class LocalistError(ValueError):
    """Base of all errors that input can cause.

    `LocalistError("Dial", 1.5, "must lie in [0, 1]", "Choose a value in [0, 1]")` reads
    "Dial is 1.5: must lie in [0, 1]. Choose a value in [0, 1]."
    """

    def __init__(self, subject: str, value: object, rule: str, remedy: str) -> None:
        self.subject, self.value, self.rule, self.remedy = subject, value, rule, remedy
        shown = repr(value)
        if len(shown) > _LONGEST_VALUE:
            shown = shown[: _LONGEST_VALUE - 1] + "…"
        super().__init__(f"{subject} is {shown}: {rule}. {remedy.rstrip('.')}.")


class DialError(LocalistError):
    """A dial, schedule, gain or temperature outside its range."""


class TextError(LocalistError):
    """Text that cannot be encoded, is empty, or is beyond a stated limit."""


class PartitionError(LocalistError):
    """Blocks, lexicon or reads that contradict each other or their file format."""


class CheckpointError(LocalistError):
    """A model directory that is missing, cut short, altered or of another format."""


class ModelNotFoundError(LocalistError):
    """A model name that no listed directory answers to."""


class DeviceError(LocalistError):
    """A device that this machine does not have."""


class SubspaceError(LocalistError):
    """Subspaces of blocks that overlap, or that need more dimensions than the pool has."""


class BoundError(LocalistError):
    """Numbers that a bound has no meaning for: counts that contradict each other, NaN."""


class PenaltyError(LocalistError):
    """Groups, weights or a penalty strength that the group-sparse objective cannot take."""


class UnitError(LocalistError):
    """Activations, classes or a site that the measures of units cannot take."""


class AnchorError(LocalistError):
    """Counts, activations or words that anchors cannot be designed, fitted or scored from."""


class RuleError(LocalistError):
    """A rule, a file of rules or a checker that cannot be read, applied or decided in time.

    key: which key of the rule is at fault, "" where none is.
    """

    def __init__(self, subject: str, value: object, rule: str, remedy: str, key: str = "") -> None:
        super().__init__(subject, value, rule, remedy)
        self.key = key


class AuditLogError(LocalistError):
    """An audit log that was cut or altered, or an event that it cannot take."""


class AuditError(LocalistError):
    """A prompt, a removal or a file of prompts that cannot be audited."""


class EvidenceError(LocalistError):
    """An evidence bundle that cannot be written, read or verified."""
