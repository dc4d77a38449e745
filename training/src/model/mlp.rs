//! A plain multilayer perceptron: features enter, rectified hidden layers, unbounded outputs leave.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

#[derive(Module, Debug)]
pub(super) struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    /// Layers between each pair of `widths`.
    pub(super) fn new(widths: &[usize], device: &Device) -> Self {
        let layers = widths.windows(2).map(|pair| LinearConfig::new(pair[0], pair[1]).init(device));
        Self { layers: layers.collect() }
    }

    /// # Shapes
    /// - features: `[.., first width]`; output: `[.., last width]`.
    pub(super) fn forward<const D: usize>(&self, features: Tensor<D>) -> Tensor<D> {
        let last = self.layers.len().saturating_sub(1);
        self.layers.iter().enumerate().fold(features, |features, (index, layer)| {
            let features = layer.forward(features);
            if index == last { features } else { relu(features) }
        })
    }
}
