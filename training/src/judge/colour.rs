//! Which of the named colours a figure has: the tones of a crop enter, how sure each of the ten colours is
//! leaves.
//!
//! A colour is a matter of how many pixels have it and of the light they stand in, not of where they are.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::tones::WHOLE;
use crate::world::Colour;

const HIDDEN: usize = 64;

#[derive(Module, Debug)]
pub(super) struct Namer {
    first: Linear,
    second: Linear,
}

impl Namer {
    pub(super) fn new(device: &Device) -> Self {
        Self {
            first: LinearConfig::new(WHOLE, HIDDEN).init(device),
            second: LinearConfig::new(HIDDEN, Colour::ALL.len()).init(device),
        }
    }

    /// Logits, one a colour.
    ///
    /// # Shapes
    /// - tones: `[crops, TONES]`; output: `[crops, colours]`.
    pub(super) fn forward(&self, tones: Tensor<2>) -> Tensor<2> {
        self.second.forward(relu(self.first.forward(tones.narrow(1, 0, WHOLE))))
    }
}
