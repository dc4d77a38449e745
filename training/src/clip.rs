//! A decoded clip: RGB frames and mono sound on one clock.
//!
//! Everything that makes or shows a video meets here: the corpus and the generator return a [`Clip`],
//! the encoder and the evaluation take one. The frames are row-major RGB8, `[time, height, width, 3]`.

/// Frames and sound of one short video.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Picture width in pixels.
    pub width: usize,
    /// Picture height in pixels.
    pub height: usize,
    /// Frames per second.
    pub fps: u32,
    /// RGB8 pixels, `[time, height, width, 3]`.
    pub frames: Vec<u8>,
    /// Samples per second of `samples`.
    pub sample_rate: u32,
    /// Mono sound in [-1, 1].
    pub samples: Vec<f32>,
}

impl Clip {
    /// Bytes of one frame.
    pub fn frame_len(&self) -> usize {
        self.width * self.height * 3
    }

    /// Number of whole frames.
    pub fn frame_count(&self) -> usize {
        self.frames.len().checked_div(self.frame_len()).unwrap_or(0)
    }

    /// One frame's RGB8 pixels, or `None` past the end.
    pub fn frame(&self, index: usize) -> Option<&[u8]> {
        let len = self.frame_len();
        self.frames.get(index * len..(index + 1) * len).filter(|pixels| !pixels.is_empty())
    }

    /// Length of the picture track in seconds.
    pub fn seconds(&self) -> f64 {
        if self.fps == 0 { 0.0 } else { self.frame_count() as f64 / f64::from(self.fps) }
    }
}

#[cfg(test)]
mod tests {
    use super::Clip;

    #[test]
    fn frames_are_counted_and_addressed() {
        let clip = Clip {
            width: 2,
            height: 1,
            fps: 24,
            frames: (0..18).collect(),
            sample_rate: 12_000,
            samples: Vec::new(),
        };
        assert_eq!(clip.frame_count(), 3);
        assert_eq!(clip.frame(1), Some(&[6, 7, 8, 9, 10, 11][..]));
        assert_eq!(clip.frame(3), None);
        assert!((clip.seconds() - 0.125).abs() < 1e-9);
    }
}
