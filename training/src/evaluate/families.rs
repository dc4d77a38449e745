//! The corpus's families under the judges: scenes that no training saw enter, figures of each family and of all
//! together leave, with clips to look at.
//!
//! INVARIANT: each scene is judged three times by the same code (the world's own clip, that through the model's
//! latents, and the model's from the caption), and no more than a batch of clips is held at once.

use kinora_harness::page::Shown;
use kinora_harness::seed::derive;
use rayon::prelude::*;

use super::page::{Exhibit, exhibit};
use super::physics::{Figures, Judged, Known};
use super::{
    Beside, CaptionFigures, EvaluateError, EvaluateOptions, FamilyReport, Interval, MotionReport, SIDE,
    original, perform, portraits, request, retell, unusual,
};
use crate::clip::Clip;
use crate::generate::{BATCH, GenerationRequest, Generator};
use crate::judge::{AskedClip, ClipAgreement, Judges, Verdict, distance};
use crate::performance::Performance;
use crate::train::latents::{Told, tell_family};
use crate::world::draw::render_stage;
use crate::world::{Family, Scene};

/// Families whose balls fly, so that what they should do is known without doubt.
const FLYING: [Family; 4] = [Family::Bounce, Family::Hoop, Family::Collision, Family::Throw];
/// Clips of each family on the page.
const SHOWN: u64 = 3;

/// One clip under the judges.
pub(super) struct Seen {
    pub(super) clip: Clip,
    /// `None` where nothing flies.
    pub(super) motion: Option<Judged>,
    pub(super) verdict: Verdict,
}

/// What was seen so far; index 0 is the world's own, 1 the reconstruction, 2 the model's.
pub(super) struct Survey<'a> {
    generator: &'a Generator,
    judges: &'a Judges,
    options: &'a EvaluateOptions,
    agreements: [Vec<ClipAgreement>; 3],
    features: [Vec<Vec<f32>>; 3],
    /// One a family, where a page is asked for.
    pub(super) exhibits: Vec<Exhibit>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(generator: &'a Generator, judges: &'a Judges, options: &'a EvaluateOptions) -> Self {
        Self {
            generator,
            judges,
            options,
            agreements: Default::default(),
            features: Default::default(),
            exhibits: Vec::new(),
        }
    }

    /// Judges one family. `on_clips` learns how many scenes are done.
    pub(super) fn family(
        &mut self,
        family: Family,
        on_clips: &mut dyn FnMut(u64),
    ) -> Result<FamilyReport, EvaluateError> {
        let options = self.options;
        let scenes = derive(options.seed, "eval scenes");
        let mut judged: [Vec<Judged>; 3] = Default::default();
        let mut agreements: [Vec<ClipAgreement>; 3] = Default::default();
        let mut exhibit = Exhibit::new(family);
        let mut left_out = 0;
        for start in (0..options.clips).step_by(BATCH) {
            let indices = start..(start + BATCH as u64).min(options.clips);
            let told: Vec<Told> =
                indices.clone().into_par_iter().map(|index| tell_family(family, scenes ^ index)).collect();
            let retold = retell(self.generator, &told.iter().map(|told| &told.scene).collect::<Vec<_>>());
            let requests: Vec<GenerationRequest> = told
                .iter()
                .zip(indices)
                .map(|(told, index)| {
                    let number = derive(index, super::name(family));
                    let references = portraits(&told.scene);
                    GenerationRequest { references, ..request(caption(told), options, number) }
                })
                .collect();
            let drawn = perform(self.generator, &requests, options)?;
            let survey = &*self;
            let triples: Vec<(Option<Shown>, [Seen; 3])> = told
                .par_iter()
                .enumerate()
                .zip(retold.par_iter().zip(&drawn))
                .map(|((index, told), (retold, drawn))| {
                    survey.triple(start + index as u64, told, retold, drawn)
                })
                .collect::<Result<_, EvaluateError>>()?;
            for ((shown, triple), told) in triples.into_iter().zip(&told) {
                let whole = triple[0].motion.as_ref().is_none_or(Judged::is_whole);
                left_out += usize::from(!whole);
                exhibit.add(shown, told.scene.shot, &triple);
                for (kind, seen) in triple.into_iter().enumerate() {
                    judged[kind].extend(seen.motion.filter(|_| whole));
                    agreements[kind].push(seen.verdict.agreement);
                    self.features[kind].push(seen.verdict.features);
                }
            }
            on_clips((start + BATCH as u64).min(options.clips));
        }
        if options.report.is_some() {
            self.exhibits.push(exhibit);
        }
        let captions = Beside::of([0, 1, 2].map(|kind| CaptionFigures::of(&agreements[kind])));
        for (all, own) in self.agreements.iter_mut().zip(agreements) {
            all.extend(own);
        }
        let motion = FLYING.contains(&family).then(|| {
            let figures = judged.map(|judged| Figures::of(&judged, derive(options.seed, "interval")));
            Ok::<_, EvaluateError>(MotionReport {
                left_out,
                figures: Beside::of(figures),
                out_of_distribution: unusual::evaluate(self.generator, family, options)?,
            })
        });
        Ok(FamilyReport { family, captions, motion: motion.transpose()? })
    }

    /// One scene's three clips under the judges, and what the page shows of them.
    fn triple(
        &self,
        index: u64,
        told: &Told,
        retold: &Performance,
        drawn: &Performance,
    ) -> Result<(Option<Shown>, [Seen; 3]), EvaluateError> {
        let flies = FLYING.contains(&told.scene.family);
        let truth = Known::of(&told.scene);
        let asked = Known { restitution: None, ..truth.clone() };
        let painter = self.generator.painter();
        let see = |clip: Clip, scene: &Scene, known: &Known| Seen {
            motion: flies.then(|| Judged::of(&clip, &render_stage(scene, SIDE, SIDE), known)),
            verdict: self.judges.verdict(&AskedClip::of(&clip, &told.scene)),
            clip,
        };
        let triple = [
            see(original(&told.scene), &told.scene, &truth),
            see(painter.clip(retold, SIDE, SIDE), &retold.scene(), &truth),
            see(painter.clip(drawn, SIDE, SIDE), &drawn.scene(), &asked),
        ];
        let shown = (self.options.report.is_some() && index < SHOWN)
            .then(|| exhibit(&painter, &caption(told), drawn, &triple))
            .transpose()?;
        Ok((shown, triple))
    }

    /// How often captions are kept to, over all families.
    pub(super) fn captions(&self) -> Beside<CaptionFigures> {
        Beside::of([0, 1, 2].map(|kind| CaptionFigures::of(&self.agreements[kind])))
    }

    /// How far the odd clips of each kind are from the world's even ones.
    pub(super) fn distance(&self) -> Beside<Option<Interval>> {
        let half = |kind: usize, odd: usize, stays: &dyn Fn(usize) -> bool| -> Vec<Vec<f32>> {
            let clips = self.features[kind].iter().skip(odd).step_by(2).enumerate();
            clips.filter(|(pair, _)| stays(*pair)).map(|(_, features)| features.clone()).collect()
        };
        let pairs = self.features[0].len() / 2;
        Beside::of([0, 1, 2].map(|kind| {
            Interval::jackknife(pairs, |stays| distance(&half(0, 0, stays), &half(kind, 1, stays)))
        }))
    }
}

fn caption(told: &Told) -> String {
    told.sentences.first().cloned().unwrap_or_default()
}
