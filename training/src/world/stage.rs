//! Everything that stands still: a generator goes in, a room, its light and a shot of it come out.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::{Backdrop, FloorTexture, Light, Shot, Stage, WallTexture};

impl Stage {
    /// A room without a fixture.
    pub(super) fn sample(rng: &mut impl Rng) -> Self {
        use Backdrop::{Lavender, Mint, Sand, Sky, Stone};
        use WallTexture::{Bricks, Plain, Stripes};
        let backdrop = [Sky, Sand, Mint, Lavender, Stone].choose(rng).copied().unwrap_or(Sky);
        let wall = [Plain, Stripes, Bricks].choose(rng).copied().unwrap_or(Plain);
        let floors = [FloorTexture::Plain, FloorTexture::Planks, FloorTexture::Tiles];
        let floor = floors.choose(rng).copied().unwrap_or(FloorTexture::Plain);
        Self { backdrop, wall, floor, light: Light::sample(rng), fixture: None }
    }
}

impl Light {
    fn sample(rng: &mut impl Rng) -> Self {
        // Noon in half of the scenes: there a colour looks as its name says.
        let warmth = if rng.random_bool(0.5) { 0.5 } else { rng.random_range(0.0..=1.0) };
        Self { from_x: rng.random_range(-1.0..=1.0), warmth, brightness: rng.random_range(0.75..=1.0) }
    }
}

impl Shot {
    pub(super) fn sample(rng: &mut impl Rng) -> Self {
        match rng.random_range(0..20) {
            0..14 => Self::Medium,
            14..17 => Self::Close,
            _ => Self::Wide,
        }
    }
}
