//! The picture autoencoder: portraits and places enter as pixels, become short codes, and codes become the
//! colour of any pixel asked for.
//!
//! The decoder is a function of position rather than a grid (as in implicit representations): it paints a
//! ball in the ball's own frame, a hoop in the hoop's, and so draws sharp pictures of any size wherever the
//! tracks put them. Layers are laid over each other: place, shadows, balls, and what stands before the balls.

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};

use super::mlp::Mlp;
use crate::size::ModelConfig;

/// Side of the portrait that the skin encoder sees.
pub(crate) const PORTRAIT_SIDE: usize = 16;
/// Side of the picture of the empty place that the scene encoder sees.
pub(crate) const PLACE_SIDE: usize = 8;
/// Numbers that say where a pixel lies in the place, see [`stage_features`].
pub(crate) const STAGE_FEATURES: usize = 3 + HOOP_FEATURES;
const HOOP_FEATURES: usize = 3 + 4 * HOOP_OCTAVES;
const HOOP_OCTAVES: usize = 6;
/// Numbers that say where a pixel lies on a ball: its own frame (two) and their radius.
pub(crate) const BODY_FEATURES: usize = 3;
/// Numbers that say how a pixel of a ball faces the light.
pub(crate) const FACING_FEATURES: usize = 3;
/// Numbers that say where a pixel lies below a ball, see [`shadow_features`].
pub(crate) const SHADOW_FEATURES: usize = 4;

/// Where the hoop stands: the foot of its board's face at rim height, metres, and its side (-1 or 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HoopPlace {
    pub(crate) x_m: f32,
    pub(crate) y_m: f32,
    /// The direction, along x, in which the hoop opens.
    pub(crate) side: f32,
}

/// Features of the point (`x_m`, `y_m`) of a place.
pub(crate) fn stage_features(x_m: f32, y_m: f32, hoop: Option<HoopPlace>) -> [f32; STAGE_FEATURES] {
    let mut features = [0.0; STAGE_FEATURES];
    features[0] = x_m / 4.0 - 1.0;
    features[1] = y_m / 4.0 - 0.8;
    // The floor's edge is sharp: a second ruler, ten times as fine, lies around it.
    features[2] = ((y_m - 0.4) * 2.5).clamp(-1.0, 1.0);
    if let Some(hoop) = hoop {
        // Beyond the hoop's own extent its waves stand still, so that no ghost of it appears elsewhere.
        let dx = ((x_m - hoop.x_m) * hoop.side).clamp(-1.2, 2.1);
        let dy = (y_m - hoop.y_m).clamp(-1.3, 2.0);
        features[3] = 1.0;
        features[4] = dx / 2.0;
        features[5] = dy / 2.0;
        for octave in 0..HOOP_OCTAVES {
            let rate = 0.8 * 1.9_f32.powi(octave as i32);
            let waves = [(dx * rate).sin(), (dx * rate).cos(), (dy * rate).sin(), (dy * rate).cos()];
            features[6 + 4 * octave..10 + 4 * octave].copy_from_slice(&waves);
        }
    }
    features
}

/// Features of the point (`x_m`, `y_m`) for the shadow of a ball.
pub(crate) fn shadow_features(
    (x_m, y_m): (f32, f32),
    (ball_x_m, ball_y_m): (f32, f32),
    radius_m: f32,
) -> [f32; SHADOW_FEATURES] {
    let across = ((x_m - ball_x_m) / radius_m).clamp(-3.0, 3.0);
    let down = ((y_m + 0.04) / radius_m).clamp(-2.0, 2.0);
    [across * across, down * down * 8.0, (ball_y_m - radius_m) / 2.0, across.abs() + 4.0 * down.abs()]
}

/// What the place looks like at some pixels, each `[.., channels]`.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// Behind the balls, RGB in [0, 1].
    pub(crate) back: Tensor<3>,
    /// Before the balls, RGB in [0, 1].
    pub(crate) front: Tensor<3>,
    /// How much of the front is seen, in [0, 1].
    pub(crate) cover: Tensor<3>,
}

#[derive(Module, Debug)]
pub(crate) struct PictureAutoencoder {
    skin_encoder: Mlp,
    scene_encoder: Mlp,
    stage: Mlp,
    /// Colour of a ball's surface in the ball's frame.
    surface: Mlp,
    /// Shade and glint by how a point faces the light.
    light: Mlp,
    shadow: Mlp,
    /// Slope and offset of a ball's edge over the distance to it in pixels.
    edge: Param<Tensor<1>>,
}

impl PictureAutoencoder {
    pub(crate) fn new(config: &ModelConfig, device: &Device) -> Self {
        let (picture, pixel) = (config.picture_width, config.pixel_width);
        let (skin, scene) = (config.skin_code, config.scene_code);
        Self {
            skin_encoder: Mlp::new(&[PORTRAIT_SIDE * PORTRAIT_SIDE * 3, picture, picture, skin], device),
            scene_encoder: Mlp::new(&[PLACE_SIDE * PLACE_SIDE * 3, picture / 2, scene], device),
            stage: Mlp::new(
                &[STAGE_FEATURES + scene, 3 * pixel / 2, 3 * pixel / 2, 3 * pixel / 2, 7],
                device,
            ),
            surface: Mlp::new(&[BODY_FEATURES + skin, pixel, pixel, pixel, 3], device),
            light: Mlp::new(&[FACING_FEATURES, 24, 24, 2], device),
            shadow: Mlp::new(&[SHADOW_FEATURES, 24, 24, 1], device),
            edge: Param::from_tensor(Tensor::from_floats([3.0, 0.0], device)),
        }
    }

    /// Portraits of balls to skin codes in (-2, 2).
    ///
    /// # Shapes
    /// - portraits: `[balls, 16 x 16 x 3]` in [0, 1]; output: `[balls, skin code]`.
    pub(crate) fn encode_skins(&self, portraits: Tensor<2>) -> Tensor<2> {
        self.skin_encoder.forward(portraits.sub_scalar(0.5)).tanh().mul_scalar(2.0)
    }

    /// Pictures of empty places to scene codes in (-2, 2).
    ///
    /// # Shapes
    /// - places: `[places, 8 x 8 x 3]` in [0, 1]; output: `[places, scene code]`.
    pub(crate) fn encode_scenes(&self, places: Tensor<2>) -> Tensor<2> {
        self.scene_encoder.forward(places.sub_scalar(0.5)).tanh().mul_scalar(2.0)
    }

    /// The place at some pixels.
    ///
    /// # Shapes
    /// - features: `[scenes, pixels, stage features]`; codes: `[scenes, scene code]`.
    pub(crate) fn stage(&self, features: Tensor<3>, codes: Tensor<2>) -> Stage {
        // Nothing stands before the balls where there is no hoop.
        let hoop = features.clone().narrow(2, 3, 1);
        let painted = self.stage.forward(beside(features, codes));
        let colours = sigmoid(painted.clone().narrow(2, 0, 6));
        Stage {
            back: colours.clone().narrow(2, 0, 3),
            front: colours.narrow(2, 3, 3),
            cover: sigmoid(painted.narrow(2, 6, 1).sub_scalar(2.0)).mul(hoop),
        }
    }

    /// Unlit colours of points on balls, RGB.
    ///
    /// # Shapes
    /// - body: `[balls, pixels, 3]`; codes: `[balls, skin code]`; output: `[balls, pixels, 3]`.
    pub(crate) fn surface(&self, body: Tensor<3>, codes: Tensor<2>) -> Tensor<3> {
        sigmoid(self.surface.forward(beside(body, codes)))
    }

    /// Shade (a factor) and glint (added) of points that face the light as `facing` says.
    ///
    /// # Shapes
    /// - facing: `[.., pixels, 3]`; output: `[.., pixels, 2]`.
    pub(crate) fn light(&self, facing: Tensor<3>) -> Tensor<3> {
        let light = self.light.forward(facing);
        Tensor::cat(vec![light.clone().narrow(2, 0, 1).add_scalar(0.8), light.narrow(2, 1, 1)], 2)
    }

    /// The part of the light, in [0, 1], that a ball's shadow takes away.
    ///
    /// # Shapes
    /// - features: `[.., pixels, 4]`; output: `[.., pixels, 1]`.
    pub(crate) fn shade(&self, features: Tensor<3>) -> Tensor<3> {
        sigmoid(self.shadow.forward(features).sub_scalar(4.0))
    }

    /// Slope and offset of [`PictureAutoencoder::coverage`].
    pub(crate) fn edge_values(&self) -> [f32; 2] {
        let values = self.edge.val().try_into_vec_as::<f32>().unwrap_or_default();
        [values.first().copied().unwrap_or(4.0), values.get(1).copied().unwrap_or(0.0)]
    }

    /// How much of a pixel a ball covers, by the distance in pixels from its edge, positive inside.
    pub(crate) fn coverage(&self, distance: Tensor<3>) -> Tensor<3> {
        let edge = self.edge.val();
        let slope = edge.clone().narrow(0, 0, 1).unsqueeze::<3>();
        sigmoid(distance.mul(slope).add(edge.narrow(0, 1, 1).unsqueeze::<3>()))
    }
}

/// Features with the same code beside each of a row's pixels.
fn beside(features: Tensor<3>, codes: Tensor<2>) -> Tensor<3> {
    let [rows, pixels, _] = features.dims();
    let width = codes.dims()[1];
    let codes = codes.unsqueeze_dim::<3>(1).expand([rows, pixels, width]);
    Tensor::cat(vec![features, codes], 2)
}

/// Features of a point of a ball in the ball's own frame, in radii.
pub(crate) fn body_features(u: f32, v: f32) -> [f32; BODY_FEATURES] {
    [u, v, u.hypot(v)]
}

/// Features of a point of a ball that lies (`nx`, `ny`) radii from its centre, y down.
pub(crate) fn facing_features(nx: f32, ny: f32) -> [f32; FACING_FEATURES] {
    [nx, ny, (1.0 - nx * nx - ny * ny).max(0.0).sqrt()]
}

/// Averages a square RGB8 picture down to `side` x `side`, in [0, 1].
///
/// Any input side works: each output pixel averages the input pixels whose middles it covers.
pub(crate) fn shrink(pixels: &[u8], from_side: usize, side: usize) -> Vec<f32> {
    let mut sums = vec![[0.0_f32; 4]; side * side];
    for (index, pixel) in pixels.chunks_exact(3).enumerate().take(from_side * from_side) {
        let (row, column) = (index / from_side * side / from_side, index % from_side * side / from_side);
        if let Some(sum) = sums.get_mut(row * side + column) {
            for (total, &channel) in sum.iter_mut().zip(pixel) {
                *total += f32::from(channel) / 255.0;
            }
            sum[3] += 1.0;
        }
    }
    sums.into_iter().flat_map(|[r, g, b, count]| [r, g, b].map(|sum| sum / count.max(1.0))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_averages() {
        let mut pixels = vec![0_u8; 4 * 4 * 3];
        for pixel in pixels.chunks_exact_mut(3).step_by(2) {
            pixel[0] = 255;
        }
        let small = shrink(&pixels, 4, 2);
        assert_eq!(small.len(), 12);
        assert!((small[0] - 0.5).abs() < 1e-6 && small[1].abs() < 1e-6);
    }

    #[test]
    fn a_mirrored_hoop_looks_the_same_from_its_own_side() {
        let one = stage_features(3.0, 2.0, Some(HoopPlace { x_m: 5.0, y_m: 3.0, side: -1.0 }));
        let other = stage_features(7.0, 2.0, Some(HoopPlace { x_m: 5.0, y_m: 3.0, side: 1.0 }));
        assert_eq!(one[3..], other[3..]);
    }
}
