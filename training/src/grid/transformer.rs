//! The transformer over grids of latents: noisy latents, timesteps and conditions enter, the predicted
//! direction leaves.
//!
//! Patches of picture latents stand at an instant and a place, sound latents at an instant, both in real
//! seconds; attention spans all of them. With sound there are two streams that see each other, without it one.
//! What is known of a clip enters beside the noise; reference pictures stand before the clip, clean.
//! INVARIANT: the weights fit any picture size and length, and the output layers start at zero.

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};

use super::causal::{join_squares, split_squares};
use super::config::{GridConfig, PATCH, SOUND_RATE, TIME_FACTOR};
use crate::model::attention::{Attention, Place, Rotation};
use crate::model::block::{Attending, DualStreamBlock, Heard, Rotations, StreamBlock, Streams, modulate};
use crate::model::text::TextEncoder;
use crate::model::timestep::TimestepEmbedding;

/// Where the words stand on the time axis, in a model of one stream.
const WORDS_S: f32 = -4.0;

/// Latents of a batch of clips.
#[derive(Clone, Debug)]
pub(crate) struct Grids {
    /// `[batch, time, channels, height, width]`
    pub(crate) picture: Tensor<5>,
    /// `[batch, time, channels]`; none in a silent model.
    pub(crate) sound: Option<Tensor<3>>,
}

impl Grids {
    /// Applies `picture` and `sound` to the parts of two batches.
    pub(crate) fn zip(
        self,
        other: Self,
        picture: impl FnOnce(Tensor<5>, Tensor<5>) -> Tensor<5>,
        sound: impl FnOnce(Tensor<3>, Tensor<3>) -> Tensor<3>,
    ) -> Self {
        Self {
            picture: picture(self.picture, other.picture),
            sound: self.sound.zip(other.sound).map(|(one, two)| sound(one, two)),
        }
    }

    /// Applies `picture` and `sound` to the parts.
    pub(crate) fn map(
        self,
        picture: impl FnOnce(Tensor<5>) -> Tensor<5>,
        sound: impl FnOnce(Tensor<3>) -> Tensor<3>,
    ) -> Self {
        Self { picture: picture(self.picture), sound: self.sound.map(sound) }
    }

    /// The batch `copies` times over.
    pub(crate) fn repeat(self, copies: usize) -> Self {
        self.map(|part| part.repeat_dim(0, copies), |part| part.repeat_dim(0, copies))
    }
}

/// What is given of a batch of clips: the model completes the rest.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The given latents; any values where nothing is given.
    pub(crate) values: Grids,
    /// 1 where something is given, else 0: `[batch, time, 1, 1, 1]` and `[batch, time, 1]`.
    pub(crate) mask: Grids,
}

impl Known {
    /// Nothing is given of any clip; `like` says how large they are.
    pub(crate) fn nothing(like: &Grids) -> Self {
        let mask = like.clone().map(
            |picture| picture.narrow(2, 0, 1).narrow(3, 0, 1).narrow(4, 0, 1).zeros_like(),
            |sound| sound.narrow(2, 0, 1).zeros_like(),
        );
        Self { values: like.clone().map(|part| part.zeros_like(), |part| part.zeros_like()), mask }
    }

    pub(crate) fn repeat(self, copies: usize) -> Self {
        Self { values: self.values.repeat(copies), mask: self.mask.repeat(copies) }
    }

    /// The given latents, zeros elsewhere.
    pub(crate) fn given(&self) -> Grids {
        self.values.clone().zip(self.mask.clone(), Tensor::mul, Tensor::mul)
    }

    /// `drawn` where nothing is given, what is given elsewhere.
    pub(crate) fn complete(&self, drawn: Grids) -> Grids {
        let rest = drawn.zip(
            self.mask.clone(),
            |drawn, mask| drawn.mul(mask.neg().add_scalar(1.0)),
            |drawn, mask| drawn.mul(mask.neg().add_scalar(1.0)),
        );
        rest.zip(self.given(), Tensor::add, Tensor::add)
    }
}

/// What a batch of clips is made from, as tokens.
#[derive(Clone, Debug)]
pub(crate) struct Prompted {
    /// `[batch, prompt words, width]`
    pub(crate) words: Tensor<3>,
    /// Patches of the reference pictures, `[batch, references, patches, width]`; none where nobody brings any.
    pub(crate) references: Option<Tensor<4>>,
}

impl Prompted {
    pub(crate) fn cat(all: Vec<Self>) -> Self {
        let references: Option<Vec<_>> = all.iter().map(|one| one.references.clone()).collect();
        Self {
            words: Tensor::cat(all.into_iter().map(|one| one.words).collect(), 0),
            references: references.map(|references| Tensor::cat(references, 0)),
        }
    }
}

/// Latents of reference pictures, and whether each is there.
#[derive(Clone, Debug)]
pub(crate) struct References {
    /// `[batch, references, channels, side, side]`; any values where there is none.
    pub(crate) latents: Tensor<5>,
    /// 1 where there is one, else 0, `[batch, references, 1, 1]`.
    pub(crate) has: Tensor<4>,
}

#[derive(Module, Debug)]
struct SoundEnds {
    into: Linear,
    timestep: TimestepEmbedding,
    out: Linear,
}

#[expect(clippy::large_enum_variant, reason = "a model's blocks are all of one kind")]
#[derive(Module, Debug)]
pub(crate) enum Block {
    /// Picture and sound, each in a stream of its own.
    Dual(DualStreamBlock),
    /// Pictures alone, with the words among their tokens.
    Single(StreamBlock),
}

impl Attending for Block {
    fn look(&self, streams: &Streams, rotations: &Rotations) -> Vec<Attention> {
        match self {
            Self::Dual(block) => Attending::look(block, streams, rotations),
            Self::Single(block) => Attending::look(block, streams, rotations),
        }
    }

    fn take_in(&self, streams: Streams, attended: Vec<Tensor<4>>) -> Streams {
        match self {
            Self::Dual(block) => Attending::take_in(block, streams, attended),
            Self::Single(block) => Attending::take_in(block, streams, attended),
        }
    }
}

/// What enters the blocks.
#[derive(Debug)]
pub(crate) struct Embedded {
    pub(crate) streams: Streams,
    pub(crate) rotations: Rotations,
    pub(crate) canvas: Canvas,
}

/// Where the clip's patches lie among the picture's tokens: after which, and how many in time, height and width.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Canvas {
    first: usize,
    patches: [usize; 3],
}

/// The transformer.
#[derive(Module, Debug)]
pub(crate) struct GridTransformer {
    picture_in: Linear,
    picture_timestep: TimestepEmbedding,
    picture_out: Linear,
    sound: Option<SoundEnds>,
    text: TextEncoder,
    reference_in: Option<Linear>,
    /// Stands in the place of a reference where there is none, `[1, width]`.
    no_reference: Option<Param<Tensor<2>>>,
    blocks: Vec<Block>,
    #[module(skip)]
    head_width: usize,
    #[module(skip)]
    fps: u32,
}

impl GridTransformer {
    pub(crate) fn new(config: &GridConfig, vocabulary: usize, device: &Device) -> Self {
        let GridConfig { picture, sound, flow, clip } = config;
        let (width, shape) = (flow.width, flow.block());
        let into = |d_in| LinearConfig::new(d_in, width).init(device);
        let out = |d_out| LinearConfig::new(width, d_out).with_initializer(Initializer::Zeros).init(device);
        let patch = picture.channels * PATCH * PATCH;
        let block = |_| match sound {
            Some(_) => Block::Dual(DualStreamBlock::new(shape, device)),
            None => Block::Single(StreamBlock::new(shape, device)),
        };
        let has_references = flow.references > 0;
        Self {
            // Noise, what is known, and where.
            picture_in: into(2 * patch + 1),
            picture_timestep: TimestepEmbedding::new(width, device),
            picture_out: out(patch),
            sound: sound.map(|sound| SoundEnds {
                into: into(2 * sound.channels + 1),
                timestep: TimestepEmbedding::new(width, device),
                out: out(sound.channels),
            }),
            text: TextEncoder::new(shape, flow.text_layers, [vocabulary, flow.prompt_words], device),
            reference_in: has_references.then(|| into(patch)),
            no_reference: has_references
                .then(|| Initializer::Normal { mean: 0.0, std: 0.3 }.init([1, width], device)),
            blocks: (0..flow.layers).map(block).collect(),
            head_width: width / flow.heads,
            fps: clip.fps,
        }
    }

    /// Tokens of prompts and references. They do not change while sampling.
    ///
    /// # Shapes
    /// - words: `[batch, prompt words]`.
    pub(crate) fn prompt(&self, words: Tensor<2, Int>, references: Option<References>) -> Prompted {
        let references = references.zip(self.reference_in.as_ref()).zip(self.no_reference.as_ref()).map(
            |((references, layer), none)| {
                let [batch, count, _, rows, columns] = references.latents.dims();
                let patches = rows * columns / (PATCH * PATCH);
                let tokens = layer.forward(patches_of(references.latents));
                let width = tokens.dims()[2];
                let tokens = tokens.reshape([batch, count, patches, width]);
                let absent = references.has.clone().neg().add_scalar(1.0);
                tokens.mul(references.has).add(none.val().unsqueeze::<4>().mul(absent))
            },
        );
        Prompted { words: self.text.forward(words), references }
    }

    /// The direction in which to move `noisy`, whose picture and sound stand at timesteps of their own.
    ///
    /// # Shapes
    /// - timesteps: `[batch]`, 0 for noise, 1 for data.
    pub(crate) fn forward(
        &self,
        noisy: Grids,
        known: &Known,
        picture_timesteps: Tensor<1>,
        sound_timesteps: Tensor<1>,
        prompted: &Prompted,
    ) -> Grids {
        let Embedded { streams, rotations, canvas } =
            self.embed(noisy, known, picture_timesteps, sound_timesteps, prompted);
        let streams = self.blocks.iter().fold(streams, |streams, block| block.forward(streams, &rotations));
        self.read(streams, canvas)
    }

    /// The tokens that enter the blocks.
    pub(crate) fn embed(
        &self,
        noisy: Grids,
        known: &Known,
        picture_timesteps: Tensor<1>,
        sound_timesteps: Tensor<1>,
        prompted: &Prompted,
    ) -> Embedded {
        let [batch, times, _, rows, columns] = noisy.picture.dims();
        let (rows, columns) = (rows / PATCH, columns / PATCH);
        let given = known.given();
        let mask = known.mask.picture.clone().expand([batch, times, rows * columns, 1, 1]);
        let mask = mask.reshape([batch, times * rows * columns, 1]);
        let seen = vec![patches_of(noisy.picture), patches_of(given.picture), mask];
        let clip = self.picture_in.forward(Tensor::cat(seen, 2));
        let width = clip.dims()[2];

        let mut tokens = Vec::new();
        let mut places = Vec::new();
        if self.sound.is_none() {
            places.extend(vec![Place { second: WORDS_S, ..Place::default() }; prompted.words.dims()[1]]);
            tokens.push(prompted.words.clone());
        }
        if let Some(references) = &prompted.references {
            let [_, count, patches, _] = references.dims();
            let side = patches.isqrt();
            for reference in 0..count {
                places.extend(around(-1.0 - reference as f32, side, side));
            }
            tokens.push(references.clone().reshape([batch, count * patches, width]));
        }
        let canvas = Canvas { first: places.len(), patches: [times, rows, columns] };
        places.extend((0..times).flat_map(|time| around(self.second(time), rows, columns)));
        tokens.push(clip);
        let picture = Tensor::cat(tokens, 1);

        let device = picture.device();
        let heard = self.sound.as_ref().zip(noisy.sound).map(|(ends, sound)| {
            let latents = sound.dims()[1];
            let seen = [Some(sound), given.sound, known.mask.sound.clone()];
            let heard: Vec<Place> = (0..latents)
                .map(|latent| (latent as f32 + 0.5) / SOUND_RATE as f32)
                .map(|second| Place { second, ..Place::default() })
                .collect();
            let heard = Rotation::in_space(&heard, self.head_width, &device);
            let sound = Heard {
                sound: ends.into.forward(Tensor::cat(seen.into_iter().flatten().collect(), 2)),
                timestep: ends.timestep.forward(sound_timesteps),
                context: prompted.words.clone(),
            };
            (sound, heard)
        });
        let (heard, sound) = heard.unzip();
        Embedded {
            streams: Streams {
                picture,
                picture_timestep: self.picture_timestep.forward(picture_timesteps),
                heard,
            },
            rotations: Rotations { picture: Rotation::in_space(&places, self.head_width, &device), sound },
            canvas,
        }
    }

    /// What the tokens that left the blocks predict.
    pub(crate) fn read(&self, streams: Streams, canvas: Canvas) -> Grids {
        let Streams { picture, picture_timestep, heard } = streams;
        let Canvas { first, patches } = canvas;
        let sound =
            self.sound.as_ref().zip(heard).map(|(ends, Heard { sound, timestep, .. })| {
                ends.out.forward(modulate(&sound, &timestep, 0))
            });
        let clip = picture.narrow(1, first, patches.iter().product());
        let clip = self.picture_out.forward(modulate(&clip, &picture_timestep, 0));
        Grids { picture: from_patches(clip, patches), sound }
    }

    pub(crate) fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The instant of a latent frame: the middle of the frames that it stands for.
    fn second(&self, time: usize) -> f32 {
        let middle = (TIME_FACTOR - 1) as f32 / 2.0;
        let frame = if time == 0 { 0.0 } else { (time * TIME_FACTOR) as f32 - middle };
        frame / self.fps.max(1) as f32
    }
}

/// Places of the patches of one picture, row by row.
fn around(second: f32, rows: usize, columns: usize) -> impl Iterator<Item = Place> {
    let from_centre = |index: usize, count: usize| index as f32 - (count as f32 - 1.0) / 2.0;
    (0..rows * columns).map(move |patch| Place {
        second,
        row: from_centre(patch / columns, rows),
        column: from_centre(patch % columns, columns),
    })
}

/// `[batch, time, channels, height, width]` to `[batch, patches, numbers of a patch]`.
fn patches_of(latents: Tensor<5>) -> Tensor<3> {
    let squares = join_squares(latents, PATCH);
    let [batch, times, channels, rows, columns] = squares.dims();
    squares.permute([0, 1, 3, 4, 2]).reshape([batch, times * rows * columns, channels])
}

/// The inverse of [`patches_of`] for clips of so many latent frames of so many patches.
fn from_patches(patches: Tensor<3>, [times, rows, columns]: [usize; 3]) -> Tensor<5> {
    let [batch, _, channels] = patches.dims();
    let squares = patches.reshape([batch, times, rows, columns, channels]).permute([0, 1, 4, 2, 3]);
    split_squares(squares, PATCH)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, TensorData};
    use kinora_harness::seed::seeded;

    use super::*;
    use crate::grid::GridSize;
    use crate::grid::config::tests::tiny;

    fn grids(config: &GridConfig, batch: usize, seed: u64) -> Grids {
        let device = Device::flex();
        let draw = |index: u64, count: usize| {
            device.seed(seed * 7 + index);
            Tensor::<1>::random([count], Distribution::Normal(0.0, 1.0), &device)
        };
        let (times, side) = (config.clip.latent_frames(), config.clip.width / 8);
        let channels = config.picture.channels;
        let sound = config.sound.map(|sound| {
            let latents = config.clip.sound_latents();
            draw(2, batch * latents * sound.channels).reshape([batch, latents, sound.channels])
        });
        let picture = draw(1, batch * times * channels * side * side);
        Grids { picture: picture.reshape([batch, times, channels, side, side]), sound }
    }

    fn words(config: &GridConfig, batch: usize) -> Tensor<2, Int> {
        let count = config.flow.prompt_words;
        let numbers: Vec<i32> = (0..batch * count).map(|index| 2 + (index % 5) as i32).collect();
        Tensor::from_data(TensorData::new(numbers, [batch, count]), &Device::flex())
    }

    /// A model whose output layers are no zeros.
    fn stirred(config: &GridConfig) -> GridTransformer {
        struct Stir;
        impl burn::module::ModuleMapper for Stir {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|weights| {
                    let noise = weights.random_like(Distribution::Normal(0.0, 0.1));
                    weights.add(noise)
                })
            }
        }
        let device = Device::flex();
        seeded(&device, 5, || GridTransformer::new(config, 9, &device).map(&mut Stir))
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.try_into_vec_as::<f32>().unwrap()
    }

    fn furthest<const D: usize>(one: Tensor<D>, two: Tensor<D>) -> f32 {
        one.sub(two).abs().max().into_scalar::<f32>()
    }

    #[test]
    fn patches_come_together_again() {
        let latents = grids(&tiny(), 2, 1).picture;
        let [_, times, _, rows, columns] = latents.dims();
        let back = from_patches(patches_of(latents.clone()), [times, rows / 2, columns / 2]);
        assert_eq!(values(back), values(latents));
    }

    #[test]
    fn a_new_model_predicts_nothing_in_the_shape_of_its_input_at_any_picture_size() {
        let device = Device::flex();
        let config = tiny();
        let model = GridTransformer::new(&config, 9, &device);
        let prompted = model.prompt(words(&config, 2), None);
        let times = Tensor::<1>::full([2], 0.5, &device);
        for [width, height] in [[32, 32], [16, 32], [64, 32]] {
            let picture = Tensor::zeros([2, 3, 4, height / 8, width / 8], &device);
            let noisy = Grids { picture, ..grids(&config, 2, 1) };
            let known = Known::nothing(&noisy);
            let drawn = model.forward(noisy.clone(), &known, times.clone(), times.clone(), &prompted);
            assert_eq!(drawn.picture.dims(), noisy.picture.dims());
            assert_eq!(drawn.sound.as_ref().unwrap().dims(), noisy.sound.unwrap().dims());
            assert!(values(drawn.picture).iter().all(|value| value.abs() < 1e-9));
        }
    }

    #[test]
    fn one_stream_and_two_see_words_references_and_what_is_known() {
        let device = Device::flex();
        let silent = GridConfig { sound: None, ..tiny() };
        for config in [tiny(), silent] {
            let model = stirred(&config);
            let times = Tensor::<1>::full([1], 0.5, &device);
            let noisy = grids(&config, 1, 1);
            let nothing = Known::nothing(&noisy);
            let draw = |known: &Known, prompted: &Prompted| {
                model.forward(noisy.clone(), known, times.clone(), times.clone(), prompted).picture
            };
            let plain = model.prompt(words(&config, 1), None);
            let base = draw(&nothing, &plain);
            assert!(furthest(base.clone(), draw(&nothing, &plain)) < 1e-9);

            let other_words = model.prompt(words(&config, 1).zeros_like(), None);
            assert!(furthest(base.clone(), draw(&nothing, &other_words)) > 1e-4);

            let mut known = nothing.clone();
            known.values = noisy.clone();
            known.mask.picture = known.mask.picture.clone().slice_fill(burn::tensor::s![.., 0..1], 1.0);
            assert!(furthest(base.clone(), draw(&known, &plain)) > 1e-4);

            let side = config.flow.reference_side / 8;
            let reference = |has: f32, level: f32| {
                Some(References {
                    latents: Tensor::full([1, 1, config.picture.channels, side, side], level, &device),
                    has: Tensor::full([1, 1, 1, 1], has, &device),
                })
            };
            let with = |has, level| draw(&nothing, &model.prompt(words(&config, 1), reference(has, level)));
            assert!(furthest(with(1.0, 0.5), with(1.0, -0.5)) > 1e-4);
            assert!(furthest(with(0.0, 0.5), with(0.0, -0.5)) < 1e-9, "an absent reference is not seen");
        }
    }

    #[test]
    fn a_batch_gives_what_each_clip_gives_alone() {
        let device = Device::flex();
        let config = tiny();
        let model = stirred(&config);
        let noisy = grids(&config, 2, 1);
        let known = Known::nothing(&noisy);
        let prompted = model.prompt(words(&config, 2), None);
        let times = Tensor::<1>::from_floats([0.2, 0.7], &device);
        let both = model.forward(noisy.clone(), &known, times.clone(), times.clone(), &prompted);
        for index in 0..2 {
            let one =
                |grids: Grids| grids.map(|part| part.narrow(0, index, 1), |part| part.narrow(0, index, 1));
            let prompted = Prompted { words: prompted.words.clone().narrow(0, index, 1), references: None };
            let known = Known { values: one(known.values.clone()), mask: one(known.mask.clone()) };
            let time = times.clone().narrow(0, index, 1);
            let alone = model.forward(one(noisy.clone()), &known, time.clone(), time, &prompted);
            let both = one(both.clone());
            assert!(furthest(both.picture, alone.picture) < 1e-5);
            assert!(furthest(both.sound.unwrap(), alone.sound.unwrap()) < 1e-5);
        }
    }

    /// The gradients of all parameters, summed over pieces.
    fn gradients(model: &GridTransformer, pieces: &[burn::tensor::Gradients]) -> Vec<f32> {
        struct Sum<'a> {
            pieces: &'a [burn::tensor::Gradients],
            found: Vec<f32>,
        }
        impl burn::module::ModuleVisitor for Sum<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let none = param.val().inner().zeros_like();
                let parts = self.pieces.iter().filter_map(|piece| param.val().grad(piece));
                self.found.extend(values(parts.fold(none, Tensor::add)));
            }
        }
        let mut sum = Sum { pieces, found: Vec::new() };
        model.visit(&mut sum);
        sum.found
    }

    #[test]
    fn gradients_do_not_depend_on_whether_activations_are_kept() {
        use crate::model::recompute::{along, pass};

        let device = Device::flex().autodiff();
        for sound in [tiny().sound, None] {
            let config = GridConfig { sound, ..tiny() };
            let model = stirred(&config).train();
            let lift = |grids: Grids| grids.map(Tensor::from_inner, Tensor::from_inner);
            let (noisy, towards) = (lift(grids(&config, 2, 1)), grids(&config, 2, 2));
            let known = Known::nothing(&noisy);
            let words = Tensor::from_inner(words(&config, 2));
            let times = || Tensor::<1>::from_floats([0.2, 0.7], &device);
            let loss = |drawn: Grids| {
                let seen = along(vec![drawn.picture], vec![towards.picture.clone()]);
                match (drawn.sound, towards.sound.clone()) {
                    (Some(sound), Some(towards)) => seen.add(along(vec![sound], vec![towards])),
                    _ => seen,
                }
            };
            let prompted = model.prompt(words.clone(), None);
            let whole = loss(model.forward(noisy.clone(), &known, times(), times(), &prompted)).backward();
            let expected = gradients(&model, &[whole]);

            let prompted = model.prompt(words, None);
            let Embedded { streams, rotations, canvas } =
                model.embed(noisy, &known, times(), times(), &prompted);
            let passed = pass(model.blocks(), &streams, &rotations);
            let after = loss(model.read(passed.output.clone(), canvas)).backward();
            let (slopes, mut pieces) = passed.backward(&after);
            pieces.push(along(streams.tensors(), slopes.tensors()).backward());
            pieces.push(after);
            let found = gradients(&model, &pieces);
            let largest = expected.iter().fold(0.0_f32, |largest, slope| largest.max(slope.abs()));
            assert!(largest > 1e-3);
            for (one, other) in expected.iter().zip(&found) {
                assert!((one - other).abs() < 1e-4 * largest, "{one} became {other}, of {largest}");
            }
        }
    }

    #[test]
    fn the_phyworld_sizes_have_the_papers_parameters() {
        let millions = [
            (GridSize::PhyWorldS, 22.5),
            (GridSize::PhyWorldB, 89.5),
            (GridSize::PhyWorldL, 310.0),
            (GridSize::PhyWorldXl, 456.0),
        ];
        for (size, expected) in millions {
            // Weights are drawn at first use: counting them costs nothing.
            let model = GridTransformer::new(&size.config(), 8, &Device::flex());
            let found = model.num_params() as f64 / 1e6;
            assert!((found / expected - 1.0).abs() < 0.05, "{size} has {found:.2}M parameters");
        }
    }
}
