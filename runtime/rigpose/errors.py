"""The errors a user may meet: each message is one sentence with the file, the cause and the next step."""

from __future__ import annotations


class RigposeError(Exception):
    """Base of every error that the command line prints as a sentence instead of a traceback."""


class ConfigError(RigposeError):
    """A configuration file or mapping that does not say what it must."""


class ProjectError(RigposeError):
    """A DeepLabCut project, label file, split or shuffle that cannot be used."""


class SnapshotError(RigposeError):
    """A snapshot that cannot be read or does not fit its configuration."""


class TrainingError(RigposeError):
    """Training that cannot start or go on."""


class BundleError(RigposeError):
    """A bundle that is incomplete, damaged or newer than this runtime."""


class BackendError(RigposeError):
    """A device or execution provider that was asked for and cannot run."""


class MediaError(RigposeError):
    """A video or image that cannot be read."""


class ResultError(RigposeError):
    """A result file that cannot be written or read."""


class MissingExtraError(RigposeError):
    """A part of rigpose whose optional dependencies are not installed."""
