//! All footage as the transformer sees it: frozen autoencoders and clips enter, latents on disk leave.
//!
//! INVARIANT: stopped and called again, it goes on after the last whole part and writes what it would have
//! written.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use kinora_harness::progress::Progress;
use kinora_harness::run::Run;

use super::{GridTrainOptions, record_skips};
use crate::grid::GridError;
use crate::grid::cache::{Cache, Encoded, Part};
use crate::grid::config::{GridConfig, SPACE_FACTOR};
use crate::grid::footage::{Reel, Take};
use crate::grid::model::{Spread, Spreads};
use crate::grid::pixels;
use crate::grid::sound_autoencoder::SoundAutoencoder;
use crate::grid::video_autoencoder::VideoAutoencoder;
use crate::train::TrainError;

/// Items of the footage in a part.
const PART_ITEMS: u64 = 32;
/// Takes that the normalisation is measured on.
const MEASURED: usize = 1024;
/// Takes of the first part that are decoded again, to see what the autoencoder costs.
const DECODED: usize = 4;

/// The frozen autoencoders.
#[derive(Clone, Copy)]
pub(super) struct Encoders<'a> {
    pub(super) picture: &'a VideoAutoencoder,
    pub(super) sound: Option<&'a SoundAutoencoder>,
    pub(super) device: &'a Device,
}

fn numbers<const D: usize>(latents: Tensor<D>) -> Vec<f32> {
    // The devices hold f32 here by construction; an empty row fails the cache's length check.
    latents.try_into_vec_as::<f32>().unwrap_or_default()
}

impl Encoders<'_> {
    fn encode(&self, take: Take, config: &GridConfig) -> Encoded {
        let Take { frames, samples, is_heard, caption, references } = take;
        let size = [config.clip.width, config.clip.height];
        let side = config.flow.reference_side;
        let picture = |pixels: &[u8], size| {
            numbers(self.picture.encode_long(&pixels::of_clips(&[pixels], size, self.device)))
        };
        let sound = self.sound.map(|autoencoder| {
            let length = samples.len();
            let samples = Tensor::<2>::from_data(TensorData::new(samples, [1, length]), self.device);
            numbers(autoencoder.encode(samples).mean)
        });
        Encoded {
            caption,
            is_heard,
            picture: picture(&frames, size),
            sound: sound.unwrap_or_default(),
            references: references
                .iter()
                .take(config.flow.references)
                .map(|pixels| picture(pixels, [side, side]))
                .collect(),
        }
    }

    /// What is left of pictures after the autoencoder, in decibels.
    fn psnr_db(&self, takes: &[Take], config: &GridConfig) -> Option<f64> {
        let size = [config.clip.width, config.clip.height];
        let figures = takes.iter().take(DECODED).map(|take| {
            let frames = pixels::of_clips(&[&take.frames], size, self.device);
            let back = self.picture.decode_long(&self.picture.encode_long(&frames));
            pixels::psnr_db(&take.frames, &pixels::to_clips(back).concat())
        });
        let figures: Vec<f64> = figures.collect();
        (!figures.is_empty()).then(|| figures.iter().sum::<f64>() / figures.len() as f64)
    }
}

/// Encodes all footage into `directory`, from where it was left.
pub(super) fn encode(
    options: &GridTrainOptions,
    encoders: Encoders<'_>,
    directory: &Path,
    run: &mut Run,
) -> Result<Cache, GridError> {
    let config = &options.model;
    let mut cache = Cache::open(directory, config)?;
    let mut reel = Reel::open(&options.footage, config, options.seed)?;
    let mut progress = Progress::new("latents", reel.items(), options.progress);
    reel.pass(cache.items());
    loop {
        if options.interrupt.is_set() {
            progress.finish(format!("stopped after {} clips", cache.items()));
            return Err(TrainError::Interrupted { stage: "latents", step: cache.items() }.into());
        }
        let looked = reel.look(PART_ITEMS);
        if looked.is_empty() {
            break;
        }
        let mut part = Part { items: looked.len() as u64, ..Part::default() };
        let mut takes = Vec::new();
        for item in looked {
            match item {
                Ok(found) => takes.extend(found),
                Err(skip) => part.skipped.push(format!("{}: {}", skip.name, skip.reason)),
            }
        }
        if cache.items() == 0
            && let Some(psnr_db) = encoders.psnr_db(&takes, config)
        {
            run.metric(0, "picture_psnr_db", psnr_db)?;
        }
        part.takes = takes.into_iter().map(|take| encoders.encode(take, config)).collect();
        cache.add(part)?;
        progress.set(cache.items(), "clips");
    }
    for (clips, skip) in reel.skipped_beside() {
        cache.leave_out(clips, format!("{}: {}", skip.name, skip.reason));
    }
    progress.finish(format!("{} takes encoded, {} clips skipped", cache.entries().len(), cache.skipped()));
    record_skips(&cache, run)?;
    if cache.entries().is_empty() {
        let first = cache.reasons().first().cloned().ok_or(GridError::Empty)?;
        return Err(GridError::NothingReadable { count: cache.skipped() as usize, first });
    }
    Ok(cache)
}

/// What brings the latents in `cache` to unit variance.
pub(super) fn spreads(cache: &Cache, config: &GridConfig) -> Spreads {
    let takes: Vec<Encoded> =
        (0..cache.entries().len().min(MEASURED)).filter_map(|i| cache.read(i)).collect();
    let places = (config.clip.width / SPACE_FACTOR) * (config.clip.height / SPACE_FACTOR);
    Spreads {
        picture: Spread::measure(
            takes.iter().map(|take| take.picture.as_slice()),
            config.picture.channels,
            places,
        ),
        sound: config.sound.map(|sound| {
            let heard = takes.iter().filter(|take| take.is_heard);
            Spread::measure(heard.map(|take| take.sound.as_slice()), sound.channels, 1)
        }),
    }
}
