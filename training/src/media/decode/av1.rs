//! AV1: packets go in, pictures come out with their times; and a picture becomes RGB8.
//!
//! INVARIANT: pictures larger than the limit are refused before memory is taken for them.

use re_rav1d::pixel::{MatrixCoefficients, YUVRange};
use re_rav1d::{Decoder, Error, PixelLayout, PlanarImageComponent, Settings};

use super::{DecodeError, MAX_SIDE};

pub(super) type Picture = re_rav1d::Picture;

/// Times cross the decoder as whole numbers of these.
const TICKS_PER_SECOND: f64 = 1e6;

pub(super) struct VideoDecoder {
    decoder: Decoder,
}

type OnPicture<'a> = dyn FnMut(f64, Picture) -> Result<(), DecodeError> + 'a;

impl VideoDecoder {
    pub(super) fn new() -> Result<Self, DecodeError> {
        let mut settings = Settings::new();
        // Clips are decoded side by side, so one thread each.
        settings.set_n_threads(1);
        settings.set_max_frame_delay(1);
        settings.set_all_layers(false);
        settings.set_frame_size_limit(MAX_SIDE * MAX_SIDE);
        let decoder = Decoder::with_settings(&settings).map_err(DecodeError::Picture)?;
        Ok(Self { decoder })
    }

    pub(super) fn push(
        &mut self,
        packet: Box<[u8]>,
        time_s: f64,
        on_picture: &mut OnPicture<'_>,
    ) -> Result<(), DecodeError> {
        let time = (time_s * TICKS_PER_SECOND).round() as i64;
        let mut sent = self.decoder.send_data(packet, None, Some(time), None);
        loop {
            let shown = self.show(on_picture)?;
            match sent {
                Ok(()) => return Ok(()),
                // The decoder takes the rest once its pictures are out of the way; it must then move.
                Err(Error::Again) => {
                    sent = self.decoder.send_pending_data();
                    if !shown && sent == Err(Error::Again) {
                        return Err(DecodeError::Picture(Error::Again));
                    }
                }
                Err(error) => return Err(DecodeError::Picture(error)),
            }
        }
    }

    /// Takes out what the decoder still holds.
    pub(super) fn finish(&mut self, on_picture: &mut OnPicture<'_>) -> Result<(), DecodeError> {
        self.show(on_picture).map(drop)
    }

    /// Whether there was a picture.
    fn show(&mut self, on_picture: &mut OnPicture<'_>) -> Result<bool, DecodeError> {
        let mut any = false;
        loop {
            match self.decoder.get_picture() {
                Ok(picture) => {
                    any = true;
                    let time_s = picture.timestamp().unwrap_or(0) as f64 / TICKS_PER_SECOND;
                    on_picture(time_s, picture)?;
                }
                Err(Error::Again) => return Ok(any),
                Err(error) => return Err(DecodeError::Picture(error)),
            }
        }
    }
}

/// Converts a picture; returns its width and height.
pub(super) fn to_rgb(picture: &Picture, rgb: &mut Vec<u8>) -> Result<(usize, usize), DecodeError> {
    if picture.width().max(picture.height()) > MAX_SIDE {
        return Err(DecodeError::Size { width: picture.width(), height: picture.height() });
    }
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let colours = Colours::of(picture)?;
    let luma = Plane::of(picture, PlanarImageComponent::Y, (0, 0));
    let halved = match picture.pixel_layout() {
        PixelLayout::I400 => None,
        PixelLayout::I420 => Some((1, 1)),
        PixelLayout::I422 => Some((1, 0)),
        PixelLayout::I444 => Some((0, 0)),
    };
    let chroma = halved.map(|halved| {
        [PlanarImageComponent::U, PlanarImageComponent::V].map(|part| Plane::of(picture, part, halved))
    });
    rgb.clear();
    rgb.reserve(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let [blue, red] = match &chroma {
                Some(planes) => planes.each_ref().map(|plane| plane.at(x, y)),
                None => [colours.grey; 2],
            };
            rgb.extend_from_slice(&colours.rgb(luma.at(x, y), blue, red));
        }
    }
    Ok((width, height))
}

/// One colour plane, of 8 bits or of 16.
struct Plane {
    samples: re_rav1d::Plane,
    stride: usize,
    /// By how many bits the coordinates shrink.
    halved: (u32, u32),
    is_wide: bool,
}

impl Plane {
    fn of(picture: &Picture, part: PlanarImageComponent, halved: (u32, u32)) -> Self {
        let is_wide = picture.bit_depth() > 8;
        Self { stride: picture.stride(part) as usize, samples: picture.plane(part), halved, is_wide }
    }

    fn at(&self, x: usize, y: usize) -> f32 {
        let (x, row) = (x >> self.halved.0, (y >> self.halved.1) * self.stride);
        let byte = |at: usize| self.samples.get(at).copied().unwrap_or(0);
        if self.is_wide {
            f32::from(u16::from_ne_bytes([byte(row + 2 * x), byte(row + 2 * x + 1)]))
        } else {
            f32::from(byte(row + x))
        }
    }
}

/// How the three components of a picture become red, green and blue.
struct Colours {
    black: f32,
    luma_scale: f32,
    grey: f32,
    chroma_scale: f32,
    /// Weights of red and blue in the luma; `None` where the components are the colours themselves.
    weights: Option<(f32, f32)>,
}

impl Colours {
    fn of(picture: &Picture) -> Result<Self, DecodeError> {
        let weights = match picture.matrix_coefficients() {
            MatrixCoefficients::BT709 => Some((0.2126, 0.0722)),
            MatrixCoefficients::BT2020NonConstantLuminance => Some((0.2627, 0.0593)),
            // ffmpeg takes a picture that does not say for BT.601 too.
            MatrixCoefficients::Unspecified | MatrixCoefficients::BT470BG | MatrixCoefficients::ST170M => {
                Some((0.299, 0.114))
            }
            MatrixCoefficients::Identity => None,
            _ => return Err(DecodeError::PictureKind { reason: "unusual colours" }),
        };
        let unit = (1_u32 << (picture.bit_depth().clamp(8, 16) - 8)) as f32;
        let full = unit * 256.0 - 1.0;
        Ok(match picture.color_range() {
            YUVRange::Full => Self {
                black: 0.0,
                luma_scale: 255.0 / full,
                grey: 128.0 * unit,
                chroma_scale: 255.0 / full,
                weights,
            },
            YUVRange::Limited => Self {
                black: 16.0 * unit,
                luma_scale: 255.0 / (219.0 * unit),
                grey: 128.0 * unit,
                chroma_scale: 255.0 / (224.0 * unit),
                weights,
            },
        })
    }

    fn rgb(&self, y: f32, u: f32, v: f32) -> [u8; 3] {
        let luma = (y - self.black) * self.luma_scale;
        let colours = if let Some((red, blue)) = self.weights {
            let (u, v) = ((u - self.grey) * self.chroma_scale, (v - self.grey) * self.chroma_scale);
            let (r, b) = (luma + 2.0 * (1.0 - red) * v, luma + 2.0 * (1.0 - blue) * u);
            [r, (luma - red * r - blue * b) / (1.0 - red - blue), b]
        } else {
            // Green, blue, red.
            [(v - self.black) * self.luma_scale, luma, (u - self.black) * self.luma_scale]
        };
        colours.map(|colour| (colour + 0.5) as u8)
    }
}
