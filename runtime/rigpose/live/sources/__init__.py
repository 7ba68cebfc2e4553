"""Where live frames come from: one file per kind of camera, all behind ``frame_source.FrameSource``."""
