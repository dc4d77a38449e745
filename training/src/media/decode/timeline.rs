//! The clock of a clip: pictures go in with their times, frames at a steady rate come out, each the picture
//! nearest in time, at the asked size.
//!
//! INVARIANT: never more frames than asked for, however far apart a file says that its pictures are.

use super::av1::{self, Picture};
use super::{DecodeError, DecodeOptions};
use crate::clip::Clip;
use crate::media::resize::Fit;

/// Files round their times; what lies so close to the middle of two pictures, in slots, is in the middle.
const ROUNDING: f64 = 1e-3;

/// Chooses pictures for the slots of a steady clock that starts with the first picture.
pub(super) struct Timeline<P> {
    fps: f64,
    max_frames: usize,
    frames: usize,
    start_s: Option<f64>,
    /// The latest picture and its time since the start.
    held: Option<(f64, P)>,
    gap_s: f64,
}

impl<P> Timeline<P> {
    pub(super) fn new(fps: f64, max_frames: usize) -> Self {
        Self { fps, max_frames, frames: 0, start_s: None, held: None, gap_s: 0.0 }
    }

    pub(super) fn is_full(&self) -> bool {
        self.frames >= self.max_frames
    }

    /// Takes the next picture; `emit` is told when the one before it is due, and how many times.
    pub(super) fn push<E>(
        &mut self,
        time_s: f64,
        picture: P,
        emit: &mut impl FnMut(&P, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let time_s = time_s - *self.start_s.get_or_insert(time_s);
        if let Some((held_s, held)) = &self.held {
            if time_s <= *held_s {
                return Ok(());
            }
            self.gap_s = time_s - held_s;
            // The slots that are nearer to the held picture than to this one, or as near.
            let end = ((held_s + time_s) / 2.0 * self.fps + ROUNDING).floor() as usize;
            let end = end.saturating_add(1).clamp(self.frames, self.max_frames);
            if end > self.frames {
                emit(held, end - self.frames)?;
                self.frames = end;
            }
        }
        self.held = Some((time_s, picture));
        Ok(())
    }

    /// Shows the last picture for its duration, or for as long as the one before it if it has none.
    /// Says when the first picture was due.
    pub(super) fn finish<E>(
        self,
        last_duration_s: f64,
        emit: &mut impl FnMut(&P, usize) -> Result<(), E>,
    ) -> Result<Option<f64>, E> {
        if let Some((held_s, held)) = &self.held {
            let duration_s = if last_duration_s > 0.0 { last_duration_s } else { self.gap_s };
            let end = ((held_s + duration_s) * self.fps).round() as usize;
            let end = end.max(1).min(self.max_frames);
            if end > self.frames {
                emit(held, end - self.frames)?;
            }
        }
        Ok(self.start_s)
    }
}

/// Collects frames of the asked size.
pub(super) struct Frames {
    clip: Clip,
    size: (u32, u32),
    /// The prepared scaling from the latest picture's size.
    fit: Option<((usize, usize), Fit)>,
    rgb: Vec<u8>,
    scaled: Vec<u8>,
}

impl Frames {
    pub(super) fn new(options: DecodeOptions) -> Self {
        let clip = Clip {
            width: options.width as usize,
            height: options.height as usize,
            fps: options.fps,
            frames: Vec::new(),
            sample_rate: options.sample_rate,
            samples: Vec::new(),
        };
        let size = (options.width, options.height);
        Self { clip, size, fit: None, rgb: Vec::new(), scaled: Vec::new() }
    }

    pub(super) fn add(&mut self, picture: &Picture, copies: usize) -> Result<(), DecodeError> {
        let from = av1::to_rgb(picture, &mut self.rgb)?;
        let fit = match self.fit.take() {
            Some((size, fit)) if size == from => fit,
            _ => Fit::covering(from, self.size),
        };
        fit.apply(&self.rgb, &mut self.scaled);
        self.fit = Some((from, fit));
        for _ in 0..copies {
            self.clip.frames.extend_from_slice(&self.scaled);
        }
        Ok(())
    }

    pub(super) fn into_clip(self) -> Clip {
        self.clip
    }
}

#[cfg(test)]
mod tests {
    use super::Timeline;

    /// The index of the picture in each slot.
    fn slots(times_s: &[f64], last_duration_s: f64, fps: f64, max_frames: usize) -> Vec<usize> {
        let mut timeline = Timeline::new(fps, max_frames);
        let mut slots = Vec::new();
        let mut emit = |picture: &usize, copies| {
            slots.extend(std::iter::repeat_n(*picture, copies));
            Ok::<(), ()>(())
        };
        for (index, &time_s) in times_s.iter().enumerate() {
            timeline.push(time_s, index, &mut emit).unwrap();
        }
        timeline.finish(last_duration_s, &mut emit).unwrap();
        slots
    }

    #[test]
    fn each_slot_shows_the_nearest_picture() {
        let at = |fps: f64, count: usize| -> Vec<f64> { (0..count).map(|i| 7.0 + i as f64 / fps).collect() };
        let same: Vec<usize> = (0..24).collect();
        assert_eq!(slots(&at(24.0, 24), 1.0 / 24.0, 24.0, 99), same);
        assert_eq!(slots(&at(48.0, 12), 1.0 / 48.0, 24.0, 99), [0, 2, 4, 6, 8, 10]);
        assert_eq!(slots(&at(12.0, 3), 1.0 / 12.0, 24.0, 99), [0, 0, 1, 1, 2, 2]);
        // A picture that says nothing of its duration is shown like the one before it.
        assert_eq!(slots(&at(12.0, 3), 0.0, 24.0, 99).len(), 6);
        assert_eq!(slots(&[5.0], 0.0, 24.0, 99), [0]);
    }

    #[test]
    fn absurd_times_fill_no_more_than_was_asked() {
        assert_eq!(slots(&[0.0, 1e18, f64::INFINITY], f64::INFINITY, 24.0, 5), [0; 5]);
        // Pictures that go back in time are left out.
        assert_eq!(slots(&[0.0, 0.5, 0.25, 1.0], 0.5, 2.0, 9), [0, 1, 3]);
        assert_eq!(slots(&[0.0, f64::NAN, 1.0], 1.0, 1.0, 9).len(), 2);
    }
}
