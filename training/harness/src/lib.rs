//! What both trainers share: device, checkpoints, run tracking, progress.
