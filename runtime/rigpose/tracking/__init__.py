"""Identities over time: which of a frame's animals is which of the next one's, live or for a whole video."""

from __future__ import annotations

from rigpose.tracking.settings import SUFFIXES, TrackingSettings
from rigpose.tracking.tracker import Tracker
from rigpose.tracking.tracklets import Tracklet
from rigpose.tracking.tracks import Tracks, track

__all__ = ["SUFFIXES", "Tracker", "TrackingSettings", "Tracklet", "Tracks", "track"]
