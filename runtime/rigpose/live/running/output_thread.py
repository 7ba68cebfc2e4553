"""A thread and a short queue around an output, so that nothing it does can hold up a frame."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Collection

from rigpose.errors import RigposeError
from rigpose.live.clock import Clock, now
from rigpose.live.faults import FaultKind
from rigpose.live.live_pose import LivePose
from rigpose.live.outputs.output import Output
from rigpose.live.running.health import Health
from rigpose.live.running.latency import Durations
from rigpose.live.status import OutputCounts, Percentiles

IN_A_ROW = 5
"""So many failures one after the other, and the output is tried again only now and then."""
PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Before it is tried again [s]: the first time, and doubled each time up to this."""


class OutputThread:
    """One output, fed from the inference thread.

    It is brought to its safe state when no result of a camera came for ``stale_after``, when ``send`` raised, when a
    camera is lost, and before it is closed; the next result that is sent takes it out again. All of that is done by its
    own thread. So an output whose ``send`` never returns is reported as stalled and cannot be brought to its safe state
    from here: whatever it drives must let go by itself when nothing comes any more (a heartbeat).

    Args:
        output: The receiver.
        capacity: Results that may wait; of each camera where not all are kept.
        keep_all: When the queue is full, drop the new result (a recorder: no hole but at the end of what it can hold)
            and not the same camera's oldest one (a receiver that lives in the present).
        stale_after: As above [s].
        stalled_after: A ``send`` that takes longer is a fault [s].
        health: Where faults are reported.
        clock: The run's.
    """

    def __init__(  # noqa: PLR0913  # what a run decides about an output, in one place
        self,
        output: Output,
        *,
        capacity: int = 1,
        keep_all: bool = False,
        stale_after: float = 0.5,
        stalled_after: float = 1.0,
        health: Health | None = None,
        clock: Clock = now,
    ) -> None:
        self.name = output.name
        self._output = output
        self._capacity, self._keep_all = capacity, keep_all
        self._stale_after, self._stalled_after = stale_after, stalled_after
        self._clock = clock
        self._health = Health(clock) if health is None else health
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[LivePose] = deque()
        self._offered = self._sent = self._dropped = self._failed = 0
        self._in_work = False
        self._busy_since: float | None = None  # in a call of the output
        self._fresh: dict[str, float] = {}  # camera -> when its last result came, until it is stale
        self._lost: set[str] = set()  # cameras that nothing is taken of any more
        self._safe_wanted = False
        self._safe_again = math.inf  # when a safe state that could not be reached is tried again
        self._is_safe = True
        self._stopping = False
        self._in_a_row, self._pause, self._pause_until = 0, PAUSE, -math.inf
        self._took = Durations()
        self._opened = threading.Event()
        self._refused: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"rigpose-output-{self.name}", daemon=True)

    def start(self) -> None:
        """Open the output.

        Raises:
            LiveError: It cannot be used; and whatever else its ``open`` raises.
        """
        self._thread.start()
        self._opened.wait()
        if self._refused is not None:
            raise self._refused

    def offer(self, pose: LivePose) -> None:
        """Take one result; it never waits and never raises."""
        with self._changed:
            self._offered += 1
            if self._stopping or pose.frame.camera in self._lost:
                self._dropped += 1
                return
            self._fresh[pose.frame.camera] = self._clock()
            if self._keep_all and len(self._queue) >= self._capacity:
                self._dropped += 1
                return
            if not self._keep_all:
                self._make_room(pose.frame.camera)
            self._queue.append(pose)
            self._changed.notify()

    def make_safe(self, *, lost: Collection[str] = ()) -> None:
        """Ask for the safe state, before anything that still waits; at once if the output is not in work.

        Args:
            lost: Cameras that have ended: results of them that come late are dropped, but by a recorder.
        """
        with self._changed:
            self._safe_wanted = True
            if not self._keep_all:
                self._drop_waiting()
                self._lost.update(lost)
            self._changed.notify()

    def check(self) -> None:
        """Report a call of the output that does not come back; to be asked now and then, by any other thread."""
        since = self._busy_since
        if since is not None and self._clock() - since > self._stalled_after:
            self._health.report(
                FaultKind.OUTPUT_STALLED,
                self.name,
                f"{self.name}: has not taken a result for {self._stalled_after:g} s and cannot be brought to its safe "
                "state while it does not answer; look at the receiver, its cable and its buffer.",
            )

    def stop(self, timeout: float, *, send_waiting: bool = False) -> bool:
        """Send what a recorder still has waiting, drop what others have, and close in the safe state.

        Args:
            timeout: Longest wait [s]. An output that has not come back by then is reported as stalled and left alone.
            send_waiting: Whether others, too, get what is waiting, as at the end of a recording; after a stop by hand
                nothing must happen any more.

        Returns:
            Whether it is closed.
        """
        with self._changed:
            self._stopping = True
            if not self._keep_all and not send_waiting:
                self._drop_waiting()
            self._changed.notify()
        if self._thread.ident is None:  # never started
            return True
        self._thread.join(timeout)
        if self._thread.is_alive():
            with self._changed:
                self._drop_waiting()
            self._health.report(
                FaultKind.OUTPUT_STALLED,
                self.name,
                f"{self.name}: did not close within {timeout:g} s and was left as it is, perhaps not in its safe "
                "state; look at the receiver before anything goes on.",
            )
            return False
        return True

    @property
    def counts(self) -> OutputCounts:
        """What became of the results so far."""
        with self._changed:
            return OutputCounts(
                offered=self._offered,
                sent=self._sent,
                dropped=self._dropped,
                failed=self._failed,
                waiting=len(self._queue) + self._in_work,
                in_safe_state=self._is_safe,
            )

    @property
    def latency(self) -> Percentiles:
        """From exposure until ``send`` had returned."""
        with self._changed:
            took = self._took.copy()
        return took.percentiles

    def _run(self) -> None:
        try:
            self._output.open()
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits for it
            self._refused = error
            return
        finally:
            self._opened.set()
        while self._turn():
            pass
        self._make_safe()
        self._guarded("close", self._output.close)

    def _turn(self) -> bool:
        """Wait for the next thing to do and do it; whether there will be another."""
        pose = None
        with self._changed:
            self._changed.wait_for(self._has_work, self._until_next())
            if self._stopping and self._in_a_row >= IN_A_ROW:
                self._drop_waiting()
            make_safe = self._safe_is_due()
            self._safe_wanted = False
            if not make_safe:
                if self._queue and (self._stopping or self._clock() >= self._pause_until):
                    pose = self._queue.popleft()
                    self._in_work, self._is_safe = True, False
                elif self._stopping:
                    return False
        if make_safe:
            self._make_safe()
        elif pose is not None:
            self._send(pose)
        return True

    def _has_work(self) -> bool:
        return self._stopping or self._safe_wanted or self._until_next() == 0

    def _until_next(self) -> float | None:
        """How long nothing happens if no result comes [s]; none for ever."""
        moments = [self._safe_again, *(came + self._stale_after for came in self._fresh.values())]
        if self._queue:
            moments.append(self._pause_until)
        first = min(moments)
        return None if first == math.inf else max(0.0, first - self._clock())

    def _safe_is_due(self) -> bool:
        """Whether somebody asked for it, it failed before, or a camera's last result has become too old."""
        time = self._clock()
        stale = [camera for camera, came in self._fresh.items() if came + self._stale_after <= time]
        for camera in stale:
            del self._fresh[camera]
        if stale and not self._keep_all:  # what waits of it, while the output fails, is as old
            self._drop_waiting(stale)
        return bool(stale) or self._safe_wanted or time >= self._safe_again

    def _send(self, pose: LivePose) -> None:
        done = self._guarded("take a result", self._output.send, pose)
        age = self._clock() - pose.stamps.exposed
        with self._changed:
            self._in_work = False
            if done:
                self._sent += 1
                self._took.add(age)
                self._safe_again = math.inf
                self._in_a_row, self._pause = 0, PAUSE
            else:
                self._failed += 1
                self._in_a_row += 1
                if self._in_a_row >= IN_A_ROW:
                    self._pause_until = self._clock() + self._pause
                    self._pause = min(2 * self._pause, LONGEST_PAUSE)
        if done:
            self._health.over(FaultKind.OUTPUT_FAILED, self.name)
        else:
            self._make_safe()

    def _make_safe(self) -> None:
        done = self._guarded("be brought to its safe state", self._output.safe)
        with self._changed:
            self._is_safe = done
            self._safe_again = math.inf if done else self._clock() + PAUSE

    def _guarded(self, what: str, call, *arguments: LivePose) -> bool:
        """Call the output; whether it did not raise."""
        self._busy_since = self._clock()
        try:
            call(*arguments)
        except BaseException as error:  # noqa: BLE001  # a user's code may even raise SystemExit; it ends nothing here
            # The product's own errors are sentences already.
            sentence = (
                str(error)
                if isinstance(error, RigposeError)
                else f"{self.name}: could not {what} ({type(error).__name__}: {error}); look at the receiver; it is "
                "tried again, less often while it goes on failing."
            )
            self._health.report(FaultKind.OUTPUT_FAILED, self.name, sentence)
            return False
        finally:
            self._busy_since = None
            self._health.over(FaultKind.OUTPUT_STALLED, self.name)
        return True

    def _make_room(self, camera: str) -> None:
        """Let this camera's oldest result give way, and no other camera's."""
        of_camera = [place for place, pose in enumerate(self._queue) if pose.frame.camera == camera]
        if len(of_camera) >= self._capacity:
            del self._queue[of_camera[0]]
            self._dropped += 1

    def _drop_waiting(self, cameras: Collection[str] | None = None) -> None:
        """Drop what waits, of some cameras or of all."""
        kept = [] if cameras is None else [pose for pose in self._queue if pose.frame.camera not in cameras]
        self._dropped += len(self._queue) - len(kept)
        self._queue.clear()
        self._queue.extend(kept)
