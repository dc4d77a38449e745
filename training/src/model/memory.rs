//! What causal layers remember between the chunks of a clip: the last frames of each, in the order in which a
//! chunk meets the layers.
//!
//! INVARIANT: a clip worked through in chunks gives what one pass over the whole clip gives.

use burn::tensor::Tensor;

/// The last frames that each causal layer has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory<const D: usize> {
    frames: Vec<Option<Tensor<D>>>,
    next: usize,
    chunks: usize,
}

impl<const D: usize> Memory<D> {
    pub(crate) fn begin_chunk(&mut self) {
        self.next = 0;
        self.chunks += 1;
    }

    /// Whether this chunk is the clip's first.
    pub(crate) fn is_first_chunk(&self) -> bool {
        self.chunks <= 1
    }

    /// What the layer that is met now remembers; nothing before the first chunk.
    pub(crate) fn recall(&mut self) -> &mut Option<Tensor<D>> {
        let index = self.next;
        self.next += 1;
        if self.frames.len() < self.next {
            self.frames.resize(self.next, None);
        }
        &mut self.frames[index]
    }
}
