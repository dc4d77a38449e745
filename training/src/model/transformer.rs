//! The dual-stream transformer: noisy latents, timesteps and conditions enter, the predicted direction leaves.
//!
//! The picture's stream holds the tracks, then the actors, then the stage; the sound's stream holds impacts and
//! speech, then the speaker's voice. Text and the references of cameos are clean context tokens. What is known
//! of a clip (its first frames, its actors, its sound) enters beside the noise. The output layers start at zero.

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};

use super::attention::Rotation;
use super::block::{Attending, BlockShape, DualStreamBlock, Heard, Rotations, Streams, modulate};
use super::latents::{FRAMES_PER_TOKEN, LOOK, Latents, TOKENS, VOICE_CODE, token_seconds};
use super::text::{PROMPT_WORDS, TextEncoder};
use super::timestep::TimestepEmbedding;
use crate::size::ModelConfig;
use crate::world::ACTORS;

/// Where tokens that hold for the whole clip stand on the time axis: before it.
const TIMELESS_S: f32 = -1.0;

/// The transformer.
#[derive(Module, Debug)]
pub(crate) struct FlowTransformer {
    tracks_in: Linear,
    actors_in: Linear,
    stage_in: Linear,
    sound_in: Linear,
    voice_in: Linear,
    picture_positions: Param<Tensor<2>>,
    sound_positions: Param<Tensor<2>>,
    text: TextEncoder,
    /// A cameo's look to a context token.
    look_in: Linear,
    /// Which actor a look belongs to, `[3, width]`.
    look_positions: Param<Tensor<2>>,
    /// Stand in the references' places where there are none, `[3, width]`.
    no_look: Param<Tensor<2>>,
    reference_voice_in: Linear,
    no_voice: Param<Tensor<2>>,
    picture_timestep: TimestepEmbedding,
    sound_timestep: TimestepEmbedding,
    blocks: Vec<DualStreamBlock>,
    tracks_out: Linear,
    actors_out: Linear,
    stage_out: Linear,
    sound_out: Linear,
    voice_out: Linear,
    #[module(skip)]
    head_width: usize,
}

/// What a clip is made from.
#[derive(Clone, Debug)]
pub(crate) struct Prompts {
    /// Word numbers, `[batch, 28]`.
    pub(crate) words: Tensor<2, Int>,
    /// Normalised looks of cameos, one an actor, `[batch, 3, 23]`; any values where there is none.
    pub(crate) looks: Tensor<3>,
    /// 1 where the look is to be read, else 0, `[batch, 3, 1]`.
    pub(crate) has_look: Tensor<3>,
    /// Normalised voice of the speaker, `[batch, 1, 4]`; any values where there is none.
    pub(crate) voice: Tensor<3>,
    /// 1 where the voice is to be read, else 0, `[batch, 1, 1]`.
    pub(crate) has_voice: Tensor<3>,
}

impl Prompts {
    /// Words alone, without references.
    pub(crate) fn of_words(words: Tensor<2, Int>) -> Self {
        let device = words.device();
        let batch = words.dims()[0];
        let zeros = |tokens, width| Tensor::<3>::zeros([batch, tokens, width], &device);
        Self {
            words,
            looks: zeros(ACTORS, LOOK),
            has_look: zeros(ACTORS, 1),
            voice: zeros(1, VOICE_CODE),
            has_voice: zeros(1, 1),
        }
    }
}

/// What is given of a clip, in normalised latents: the model completes the rest.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The given numbers; any values where nothing is given.
    pub(crate) values: Latents,
    pub(crate) mask: Mask,
}

/// Where something is given: 1, else 0.
#[derive(Clone, Debug)]
pub(crate) struct Mask {
    /// `[batch, 24, 4]`: the tracks of each frame.
    pub(crate) frames: Tensor<3>,
    /// `[batch, 3, 1]`
    pub(crate) actors: Tensor<3>,
    /// `[batch, 1, 1]`
    pub(crate) stage: Tensor<3>,
    /// `[batch, 24, 1]`
    pub(crate) sound: Tensor<3>,
    /// `[batch, 1, 1]`
    pub(crate) voice: Tensor<3>,
}

impl Mask {
    /// Nothing is given of any clip.
    pub(crate) fn nothing(batch: usize, device: &Device) -> Self {
        let zeros = |tokens, width| Tensor::<3>::zeros([batch, tokens, width], device);
        Self {
            frames: zeros(TOKENS, FRAMES_PER_TOKEN),
            actors: zeros(ACTORS, 1),
            stage: zeros(1, 1),
            sound: zeros(TOKENS, 1),
            voice: zeros(1, 1),
        }
    }

    /// The same for each of `copies` of the batch.
    pub(crate) fn repeat(&self, copies: usize) -> Self {
        let repeat = |mask: &Tensor<3>| mask.clone().repeat_dim(0, copies);
        Self {
            frames: repeat(&self.frames),
            actors: repeat(&self.actors),
            stage: repeat(&self.stage),
            sound: repeat(&self.sound),
            voice: repeat(&self.voice),
        }
    }

    /// The mask of every number, in the shapes of `like`.
    pub(crate) fn spread(&self, like: &Latents) -> Latents {
        let [batch, tokens, frames] = self.frames.dims();
        let width = like.tracks.dims()[2];
        let tracks = self.frames.clone().reshape([batch * tokens, frames, 1]);
        let wide = |mask: &Tensor<3>, part: &Tensor<3>| mask.clone().expand(part.dims());
        Latents {
            tracks: tracks.repeat_dim(2, width / frames).reshape([batch, tokens, width]),
            actors: wide(&self.actors, &like.actors),
            stage: wide(&self.stage, &like.stage),
            sound: wide(&self.sound, &like.sound),
            voice: wide(&self.voice, &like.voice),
        }
    }
}

impl Known {
    /// The last `overlap` tokens of a clip as the first of the next, with its actors, stage and voice.
    pub(crate) fn end_of(clip: &Latents, overlap: usize) -> Self {
        let device = clip.tracks.device();
        let batch = clip.tracks.dims()[0];
        let ones = |tokens, width| Tensor::<3>::ones([batch, tokens, width], &device);
        let zeros = |tokens, width| Tensor::<3>::zeros([batch, tokens, width], &device);
        let moved = |part: &Tensor<3>| {
            let [_, tokens, width] = part.dims();
            let end = part.clone().narrow(1, tokens - overlap, overlap);
            Tensor::cat(vec![end, zeros(tokens - overlap, width)], 1)
        };
        let begins = |width| Tensor::cat(vec![ones(overlap, width), zeros(TOKENS - overlap, width)], 1);
        Self {
            values: Latents { tracks: moved(&clip.tracks), sound: moved(&clip.sound), ..clip.clone() },
            mask: Mask {
                frames: begins(FRAMES_PER_TOKEN),
                actors: ones(ACTORS, 1),
                stage: ones(1, 1),
                sound: begins(1),
                voice: ones(1, 1),
            },
        }
    }

    /// Nothing is given of any clip; `like` says how large they are.
    pub(crate) fn nothing(like: &Latents) -> Self {
        let mask = Mask::nothing(like.tracks.dims()[0], &like.tracks.device());
        Self { values: like.clone().map(|part| part.zeros_like()), mask }
    }
}

impl FlowTransformer {
    pub(crate) fn new(config: &ModelConfig, vocabulary: usize, device: &Device) -> Self {
        let [tracks, actors, stage, sound, voice] = config.layout().shapes().map(|[_, width]| width);
        let (width, shape) = (config.width, BlockShape::from(config));
        let into = |d_in| LinearConfig::new(d_in, width).init(device);
        let out = |d_out| LinearConfig::new(width, d_out).with_initializer(Initializer::Zeros).init(device);
        let normal = Initializer::Normal { mean: 0.0, std: 0.3 };
        Self {
            // Noise, what is known, and where.
            tracks_in: into(2 * tracks + FRAMES_PER_TOKEN),
            actors_in: into(2 * actors + 1),
            stage_in: into(2 * stage + 1),
            sound_in: into(2 * sound + 1),
            voice_in: into(2 * voice + 1),
            picture_positions: normal.init([TOKENS + ACTORS + 1, width], device),
            sound_positions: normal.init([TOKENS + 1, width], device),
            text: TextEncoder::new(shape, config.text_layers, [vocabulary, PROMPT_WORDS], device),
            look_in: into(LOOK),
            look_positions: normal.init([ACTORS, width], device),
            no_look: normal.init([ACTORS, width], device),
            reference_voice_in: into(VOICE_CODE),
            no_voice: normal.init([1, width], device),
            picture_timestep: TimestepEmbedding::new(width, device),
            sound_timestep: TimestepEmbedding::new(width, device),
            blocks: (0..config.layers).map(|_| DualStreamBlock::new(shape, device)).collect(),
            tracks_out: out(tracks),
            actors_out: out(actors),
            stage_out: out(stage),
            sound_out: out(sound),
            voice_out: out(voice),
            head_width: width / config.heads,
        }
    }

    /// Context tokens of a batch of prompts, `[batch, 32, width]`. They do not change while sampling.
    pub(crate) fn context(&self, prompts: Prompts) -> Tensor<3> {
        let Prompts { words, looks, has_look, voice, has_voice } = prompts;
        let looks = self.look_in.forward(looks).add(self.look_positions.val().unsqueeze::<3>());
        let voice = self.reference_voice_in.forward(voice);
        let choose = |given: Tensor<3>, has: Tensor<3>, none: Tensor<2>| {
            given.mul(has.clone()).add(has.neg().add_scalar(1.0).mul(none.unsqueeze::<3>()))
        };
        Tensor::cat(
            vec![
                self.text.forward(words),
                choose(looks, has_look, self.no_look.val()),
                choose(voice, has_voice, self.no_voice.val()),
            ],
            1,
        )
    }

    /// The direction in which to move `noisy`, whose picture and sound stand at timesteps of their own.
    ///
    /// # Shapes
    /// - timesteps: `[batch]`, 0 for noise, 1 for data; context: `[batch, 32, width]`.
    pub(crate) fn forward(
        &self,
        noisy: Latents,
        known: &Known,
        picture_timesteps: Tensor<1>,
        sound_timesteps: Tensor<1>,
        context: Tensor<3>,
    ) -> Latents {
        let device = context.device();
        let mut sound_seconds = token_seconds();
        let mut picture_seconds = sound_seconds.clone();
        picture_seconds.extend([TIMELESS_S; ACTORS + 1]);
        sound_seconds.push(TIMELESS_S);
        let rotations = Rotations {
            picture: Rotation::new(&picture_seconds, self.head_width, &device),
            sound: Some(Rotation::new(&sound_seconds, self.head_width, &device)),
        };
        let picture_timestep = self.picture_timestep.forward(picture_timesteps);
        let sound_timestep = self.sound_timestep.forward(sound_timesteps);
        let Known { values, mask } = known;
        let given = values.clone().zip(mask.spread(values), Tensor::mul);
        let embed = |layer: &Linear, noisy: Tensor<3>, given: Tensor<3>, mask: &Tensor<3>| {
            layer.forward(Tensor::cat(vec![noisy, given, mask.clone()], 2))
        };
        let picture = vec![
            embed(&self.tracks_in, noisy.tracks, given.tracks, &mask.frames),
            embed(&self.actors_in, noisy.actors, given.actors, &mask.actors),
            embed(&self.stage_in, noisy.stage, given.stage, &mask.stage),
        ];
        let sound = vec![
            embed(&self.sound_in, noisy.sound, given.sound, &mask.sound),
            embed(&self.voice_in, noisy.voice, given.voice, &mask.voice),
        ];
        let sound = Tensor::cat(sound, 1).add(self.sound_positions.val().unsqueeze::<3>());
        let streams = Streams {
            picture: Tensor::cat(picture, 1).add(self.picture_positions.val().unsqueeze::<3>()),
            picture_timestep: picture_timestep.clone(),
            heard: Some(Heard { sound: sound.clone(), timestep: sound_timestep.clone(), context }),
        };
        let streams = self.blocks.iter().fold(streams, |streams, block| block.forward(streams, &rotations));
        let picture = modulate(&streams.picture, &picture_timestep, 0);
        let sound = modulate(&streams.heard.map_or(sound, |heard| heard.sound), &sound_timestep, 0);
        Latents {
            tracks: self.tracks_out.forward(picture.clone().narrow(1, 0, TOKENS)),
            actors: self.actors_out.forward(picture.clone().narrow(1, TOKENS, ACTORS)),
            stage: self.stage_out.forward(picture.narrow(1, TOKENS + ACTORS, 1)),
            sound: self.sound_out.forward(sound.clone().narrow(1, 0, TOKENS)),
            voice: self.voice_out.forward(sound.narrow(1, TOKENS, 1)),
        }
    }
}
