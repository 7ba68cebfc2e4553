"""Recording one camera of a live run: every frame that it captures, and the poses of those that were inferred.

Frames come by reference and wait for a thread that writes them; when more memory than was given for that would wait,
because the disk or the processor cannot follow, frames are dropped, listed and reported. Nothing that happens to the
disk reaches the camera or the inference: what cannot be written is a fault of this recorder, and the other parts go on
being recorded as far as they can be.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from rigpose import __version__
from rigpose.files.pose_layout import PoseLayout
from rigpose.live.captured_frame import CapturedFrame
from rigpose.live.clock import Clock, now
from rigpose.live.faults import LiveError
from rigpose.live.live_pose import LivePose
from rigpose.live.recording.codecs import codec_named
from rigpose.live.recording.finish import Finished, finish_camera
from rigpose.live.recording.frame_log import FrameLog, VideoSettings
from rigpose.live.recording.recorded_poses import PoseLog
from rigpose.live.recording.recording_files import RecordingFiles
from rigpose.live.recording.side_car import Keep, SideCarHeader
from rigpose.live.recording.video_writer import check_encoder
from rigpose.live.recording.waiting_frames import DroppedFrames, WaitingFrames
from rigpose.models.model_spec import ModelSpec

SYNC = 1.0
"""The disk is told to keep what it was given this often [s]."""
_MEMORY = 256 << 20


@dataclass(frozen=True)
class RecordingCounts:
    """Where the frames of a recorder went. ``offered == recorded + no_picture + dropped + waiting``, always.

    Attributes:
        offered: By the camera.
        recorded: Given to the encoder. When the video could not be written on, up to a second of them are not in it.
        no_picture: Only their times and poses are kept: no video is wanted, or it could not be written on.
        dropped: There was no room; their numbers are kept.
        waiting: To be written; 0 after ``close``.
        poses: Frames whose poses are kept.
    """

    offered: int
    recorded: int
    no_picture: int
    dropped: int
    waiting: int
    poses: int


class Recorder:
    """Records one camera into a folder: a tap of its frames, and an output of its poses.

    Whoever makes it opens it before the run and closes it after the run, unless the run has it among its outputs, which
    does the same. ``finish`` then makes DeepLabCut's table; of a process that was killed, ``finish`` of the module of
    that name does.

    Args:
        folder: Of the run; it is made if it is not there.
        camera: Name of the camera; frames of others are passed over.
        spec: Whose poses these are.
        scorer: DeepLabCut's name for the model, a part of its tables' names.
        model: Checksum of the bundle.
        frames_per_second: As the camera says. Nothing depends on it: frames have their own times.
        codec: One of ``CODECS``.
        grey: Whether the camera has no colours, so that one channel is enough.
        keep: What is wanted.
        memory: Most bytes of pictures that wait for the disk.
        threads: How many encode.
        facts: Kept with the recording, for people.
        clock: The run's.

    Raises:
        ConfigError: There is no such codec.
    """

    def __init__(  # noqa: PLR0913  # everything that a recording is made of, each a word that a user says
        self,
        folder: Path,
        camera: str,
        *,
        spec: ModelSpec,
        scorer: str,
        model: str = "",
        frames_per_second: float | None = None,
        codec: str = "h264",
        grey: bool = False,
        keep: Keep = "both",
        memory: int = _MEMORY,
        threads: int = 1,
        facts: Mapping[str, str] | None = None,
        clock: Clock = now,
    ) -> None:
        self.files = RecordingFiles.of(folder, camera)
        video = VideoSettings(codec_named(codec, grey=grey), grey, threads)
        self._video = None if keep == "poses" else video
        self._layout, self._clock = PoseLayout.of(spec), clock
        self._header = SideCarHeader(
            camera=camera,
            scorer=scorer,
            model=model,
            keypoints=spec.keypoints,
            individuals=spec.individuals,
            unique_keypoints=self._layout.unique,
            keep=keep,
            codec=codec,
            rigpose=__version__,
            begun=time.time(),
            frames_per_second=frames_per_second,
            facts=dict(facts or {}),
        )
        self._frames = WaitingFrames(memory)
        self._state = threading.Lock()  # of opening and closing
        self._closed = False
        self._held = ExitStack()
        self._log: FrameLog | None = None
        self._poses: PoseLog | None = None
        self._poses_synced = 0.0
        self._told: set[str] = set()
        self._writer: threading.Thread | None = None

    @property
    def name(self) -> str:
        """For people; unique in a run."""
        return f"recording of {self._header.camera}"

    @property
    def faults(self) -> tuple[str, ...]:
        """A sentence for each thing that went wrong, the oldest first."""
        return () if self._log is None else tuple(self._log.faults)

    @property
    def counts(self) -> RecordingCounts:
        """Where the frames went so far."""
        # What comes last of all is read first, and what waits is the rest: so no count is ever negative.
        recorded, no_picture = (0, 0) if self._log is None else (self._log.recorded, self._log.no_picture)
        dropped = self._frames.dropped
        offered = max(self._frames.offered, recorded + no_picture + dropped)
        waiting = offered - dropped - recorded - no_picture
        poses = 0 if self._poses is None else self._poses.rows
        return RecordingCounts(offered, recorded, no_picture, dropped, waiting, poses)

    def open(self) -> None:
        """Make the files and begin to write what is offered; a second call does nothing.

        Raises:
            LiveError: There is a recording in the folder already, it cannot be written, or the codec does not work.
            MissingExtraError: PyAV is not installed.
        """
        with self._state:
            if self._writer is not None:
                return
            if self._video is not None:
                check_encoder(self._video.codec)
            with ExitStack() as stack:
                stack.enter_context(self.files.held())
                self.files.refuse_existing()
                if self._header.keep != "frames":
                    self._poses = PoseLog(self.files.poses, self._layout)
                self._log = FrameLog(self.files, self._header, self._video, self._clock)
                self._held = stack.pop_all()
            self._writer = threading.Thread(
                target=self._write_all, args=(self._log,), name=f"rigpose-{self.name}", daemon=True
            )
            self._writer.start()

    def offer(self, frame: CapturedFrame) -> None:
        """Take a captured frame; it never waits for the disk.

        Raises:
            LiveError: The video has ended, times cannot be written, or frames find no room, by now; again and again, so
                that a run shows it for as long as it is so. What can be kept of the frame is kept.
        """
        if frame.camera != self._header.camera:
            return
        log = self._log
        wanted = self._video is not None if log is None else log.pictures_wanted
        self._frames.put(frame, picture=wanted)
        if log is not None and log.trouble is not None:
            self._told.add(log.trouble)
            raise LiveError(log.trouble)
        if self._frames.crowded:
            raise LiveError(
                f"{self.name}: frames are dropped, {self._frames.dropped} so far, as the disk or the processor cannot "
                f"follow; {self.files.side_car.name} lists them. Record less, choose another codec or disk, or leave "
                "the processor more time."
            )

    def send(self, pose: LivePose) -> None:
        """Keep the poses of an inferred frame.

        Raises:
            LiveError: They cannot be written.
        """
        if self._poses is not None and pose.frame.camera == self._header.camera:
            self._poses.append(pose)
            if self._clock() >= self._poses_synced + SYNC:
                self._poses_synced = self._clock()
                self._poses.sync()

    def safe(self) -> None:
        """A recording drives nothing."""

    def close(self) -> None:
        """Write what waits and close the files; a second call does nothing.

        Raises:
            LiveError: Something could not be written, and no call of ``offer`` has said so.
        """
        with self._state:
            if self._writer is None or self._closed:
                return
            self._closed = True
            self._frames.end()
            self._writer.join()
            try:
                if self._poses is not None:
                    self._poses.sync()
            finally:
                if self._poses is not None:
                    self._poses.close()
                self._held.close()
        if untold := [fault for fault in self.faults if fault not in self._told]:
            raise LiveError(untold[0])

    def finish(self, *, save_csv: bool = False) -> Finished:
        """Close, and make DeepLabCut's table and the last form of the side-car.

        It takes 13 s for an hour of 100 frames a second.

        Raises:
            LiveError: They cannot be written. What was recorded stays.
        """
        with suppress(LiveError):  # it is among the faults
            self.close()
        return finish_camera(self.files, save_csv=save_csv)

    def _write_all(self, log: FrameLog) -> None:
        """The thread: everything that becomes of frames."""
        synced = self._clock()
        while not self._frames.over:
            item = self._frames.take(timeout=SYNC)
            if isinstance(item, DroppedFrames):
                log.list_dropped(item)
            elif item is not None:
                log.write(item)
            if self._clock() >= synced + SYNC:
                synced = self._clock()
                log.sync()
        log.close()
