//! AV1: frames go in, one packet a frame comes out, in display order.
//!
//! INVARIANT: packets carry no temporal delimiter (an MP4 sample must not), the first one is a keyframe with
//! the sequence header, and the colours are signalled as they were converted: BT.709, limited range.

use std::ops::ControlFlow;

use rav1e::EncoderStatus;
use rav1e::color::{
    ChromaSamplePosition, ColorDescription, ColorPrimaries, MatrixCoefficients, PixelRange,
    TransferCharacteristics,
};
use rav1e::prelude::{ChromaSampling, Config, Context, EncoderConfig, Frame, FrameType, Rational};

use super::resize::Fit;
use super::{EncodeOptions, MediaError};
use crate::clip::Clip;

/// One encoded frame.
pub(super) struct Packet {
    pub(super) data: Vec<u8>,
    pub(super) keyframe: bool,
}

/// A temporal delimiter: type 2, with a size field, of size 0.
const TEMPORAL_DELIMITER: [u8; 2] = [0x12, 0x00];

pub(super) fn encode(
    clip: &Clip,
    fit: &Fit,
    options: EncodeOptions,
    on_frame: &mut dyn FnMut(usize, usize) -> ControlFlow<()>,
) -> Result<Vec<Packet>, MediaError> {
    let mut context = context(clip.fps, options)?;
    let mut packets = Vec::with_capacity(clip.frame_count());
    let mut scaled = Vec::new();
    for (done, pixels) in clip.frames.chunks_exact(clip.frame_len()).enumerate() {
        if on_frame(done, clip.frame_count()).is_break() {
            return Err(MediaError::Stopped);
        }
        fit.apply(pixels, &mut scaled);
        let mut frame = context.new_frame();
        fill(&mut frame, &scaled, options.size);
        context.send_frame(frame).map_err(MediaError::Video)?;
        drain(&mut context, &mut packets)?;
    }
    context.flush();
    drain(&mut context, &mut packets)?;
    Ok(packets)
}

fn context(fps: u32, options: EncodeOptions) -> Result<Context<u8>, MediaError> {
    let (width, height) = options.size;
    let mut encoder = EncoderConfig::with_speed_preset(options.speed.min(10));
    encoder.width = width as usize;
    encoder.height = height as usize;
    encoder.time_base = Rational::new(1, u64::from(fps));
    encoder.chroma_sampling = ChromaSampling::Cs420;
    encoder.chroma_sample_position = ChromaSamplePosition::Unknown;
    encoder.pixel_range = PixelRange::Limited;
    encoder.color_description = Some(ColorDescription {
        color_primaries: ColorPrimaries::BT709,
        transfer_characteristics: TransferCharacteristics::BT709,
        matrix_coefficients: MatrixCoefficients::BT709,
    });
    encoder.quantizer = usize::from(options.quantizer);
    encoder.low_latency = true;
    // A keyframe every two seconds keeps seeking quick.
    encoder.min_key_frame_interval = 12;
    encoder.max_key_frame_interval = u64::from(fps) * 2;
    encoder.tiles = options.threads.clamp(1, 8);
    Config::new()
        .with_encoder_config(encoder)
        .with_threads(options.threads.max(1))
        .new_context()
        .map_err(MediaError::VideoConfig)
}

fn drain(context: &mut Context<u8>, packets: &mut Vec<Packet>) -> Result<(), MediaError> {
    loop {
        match context.receive_packet() {
            Ok(packet) => {
                let data = packet.data.strip_prefix(&TEMPORAL_DELIMITER[..]).unwrap_or(&packet.data);
                packets.push(Packet { data: data.to_vec(), keyframe: packet.frame_type == FrameType::KEY });
            }
            Err(EncoderStatus::Encoded) => {}
            Err(EncoderStatus::NeedMoreData | EncoderStatus::LimitReached) => return Ok(()),
            Err(status) => return Err(MediaError::Video(status)),
        }
    }
}

/// Converts RGB8 to BT.709 limited-range luma and chroma.
fn fill(frame: &mut Frame<u8>, rgb: &[u8], size: (u32, u32)) {
    let (width, height) = (size.0 as usize, size.1 as usize);
    let mut luma = vec![0_u8; width * height];
    let (mut blue, mut red) = (vec![0_u8; luma.len() / 4], vec![0_u8; luma.len() / 4]);
    for (value, pixel) in luma.iter_mut().zip(rgb.chunks_exact(3)) {
        *value =
            (16.5 + brightness(pixel[0].into(), pixel[1].into(), pixel[2].into()) * (219.0 / 255.0)) as u8;
    }
    for row in 0..height / 2 {
        for column in 0..width / 2 {
            let mut mean = [0_u32; 3];
            for (dy, dx) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                let offset = ((row * 2 + dy) * width + column * 2 + dx) * 3;
                for (sum, &channel) in mean.iter_mut().zip(&rgb[offset..offset + 3]) {
                    *sum += u32::from(channel);
                }
            }
            let [r, g, b] = mean.map(|sum| sum as f32 / 4.0);
            let y = brightness(r, g, b);
            let at = row * (width / 2) + column;
            blue[at] = (128.5 + (b - y) * (224.0 / (255.0 * 1.8556))) as u8;
            red[at] = (128.5 + (r - y) * (224.0 / (255.0 * 1.5748))) as u8;
        }
    }
    frame.planes[0].copy_from_raw_u8(&luma, width, 1);
    frame.planes[1].copy_from_raw_u8(&blue, width / 2, 1);
    frame.planes[2].copy_from_raw_u8(&red, width / 2, 1);
}

fn brightness(r: f32, g: f32, b: f32) -> f32 {
    0.2126 * r + 0.7152 * g + 0.0722 * b
}
