"""What a recording holds, in sentences."""

from __future__ import annotations

from rigpose.live.recording.finish import Finished


def recorded(finished: Finished) -> list[str]:
    """One camera's recording."""
    said = [f"{finished.camera}: {finished.rows} frames recorded, {finished.poses} of them with poses."]
    if finished.dropped:
        said.append(
            f"{finished.camera}: {finished.dropped} frames are not in it, as disk or processor could not follow."
        )
    if finished.video is not None and finished.video_frames < finished.rows:
        said.append(f"{finished.camera}: {finished.rows - finished.video_frames} frames have no picture in the video.")
    if finished.without_place:
        said.append(
            f"{finished.camera}: {finished.without_place} animals had no column in the table; they are in the file of "
            "poses."
        )
    if not finished.whole and not went_wrong(finished):
        said.append(
            f"{finished.camera}: was not closed in order, so that up to a second before its end may be missing."
        )
    said += [f"{finished.camera}: {fault}" for fault in finished.faults]
    said += [f"wrote {path}" for path in (finished.video, finished.side_car, finished.table) if path is not None]
    return said


def went_wrong(finished: Finished) -> bool:
    """Whether something could not be recorded while it went on; being killed is none."""
    return bool(finished.faults or finished.dropped)
