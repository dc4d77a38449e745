//! Cameos under the judges: people and balls whom only a reference names enter, how well clips look and sound
//! like the references leaves.
//!
//! A model is given a portrait and, where the cameo speaks, a recording of other words in the same voice.
//! INVARIANT: a reference is never part of the clip that it is compared with.

use kinora_harness::page::Shown;
use kinora_harness::progress::Progress;
use kinora_harness::seed::derive;
use rayon::prelude::*;

use super::page::{SHEET_FRAMES, poster, video};
use super::{
    Beside, EvaluateError, EvaluateOptions, LikenessFigures, SIDE, original, perform, portraits, request,
    retell,
};
use crate::clip::Clip;
use crate::generate::{BATCH, GenerationRequest, Generator};
use crate::judge::{CameoClip, Impression, Judges};
use crate::media::contact_sheet_png;
use crate::performance::Performance;
use crate::train::latents::{Told, tell_family};
use crate::world::speech::{frames, synthesise};
use crate::world::{Family, Name, Phrase, Scene, Voice};

/// Where people and balls are sought.
const PEOPLE: [Family; 1] = [Family::Walk];
const BALLS: [Family; 3] = [Family::Bounce, Family::Hoop, Family::Collision];
/// Scenes that are looked through at once.
const SOUGHT: u64 = 64;
/// References that a clip is compared with.
const GALLERY: usize = 100;
/// Cameos of each kind on the page.
const SHOWN: usize = 3;

/// Judges the cameos, and picks a few to look at.
pub(super) fn evaluate(
    generator: &Generator,
    judges: &Judges,
    options: &EvaluateOptions,
) -> Result<(Beside<LikenessFigures>, Vec<Shown>), EvaluateError> {
    let mut told = seek(&PEOPLE, options);
    told.extend(seek(&BALLS, options));
    let mut progress = Progress::new("cameos", told.len() as u64, options.progress);
    let mut met: [Vec<Impression>; 3] = Default::default();
    let mut shown = Vec::new();
    for (told, first) in told.chunks(BATCH).zip((0..).step_by(BATCH)) {
        let retold = retell(generator, &told.iter().map(|told| &told.scene).collect::<Vec<_>>());
        let requests: Vec<GenerationRequest> = told
            .iter()
            .zip(first..)
            .map(|(told, index)| {
                let caption = told.sentences.first().cloned().unwrap_or_default();
                let number = derive(index as u64, "cameo");
                GenerationRequest {
                    references: portraits(&told.scene),
                    voice: voice(&told.scene).map(|voice| sample(&told.scene, &voice)),
                    ..request(caption, options, number)
                }
            })
            .collect();
        let drawn = perform(generator, &requests, options)?;
        let triples: Vec<([Impression; 3], Option<Shown>)> = (first..first + told.len())
            .into_par_iter()
            .zip(told)
            .zip(retold.par_iter().zip(&drawn))
            .filter_map(|((index, told), (retold, drawn))| {
                let look = told.scene.actors.first()?.look;
                let painter = generator.painter();
                let clips = [
                    original(&told.scene),
                    painter.clip(retold, SIDE, SIDE),
                    painter.clip(drawn, SIDE, SIDE),
                ];
                let voice = voice(&told.scene);
                let met = [0, 1, 2].map(|kind| judges.meet(&CameoClip { clip: &clips[kind], look, voice }));
                let on_page = options.report.is_some() && index % options.cameos < SHOWN;
                Some((met, on_page.then(|| show(generator, told, drawn, &clips))))
            })
            .map(|(met, shown)| Ok::<_, EvaluateError>((met, shown.transpose()?)))
            .collect::<Result<_, _>>()?;
        for (impressions, exhibit) in triples {
            for (all, one) in met.iter_mut().zip(impressions) {
                all.push(one);
            }
            shown.extend(exhibit);
        }
        progress.set((first + told.len()) as u64, "");
    }
    progress.finish(format!("{} cameos compared", told.len()));
    let seed = derive(options.seed, "gallery");
    let figures = met.map(|met| LikenessFigures::of(&judges.likeness(&met, GALLERY, seed)));
    Ok((Beside::of(figures), shown))
}

/// As many scenes as asked for whose first actor is a cameo, and the only one.
fn seek(families: &[Family], options: &EvaluateOptions) -> Vec<Told> {
    let seed = derive(options.seed, "eval cameos");
    let mut found = Vec::new();
    let mut start = 0;
    while found.len() < options.cameos {
        let told = (start..start + SOUGHT).into_par_iter().filter_map(|index| {
            let family = families.get(index as usize % families.len())?;
            let told = tell_family(*family, seed.wrapping_add(index));
            let cameo = |at: usize| told.scene.actors.get(at).is_some_and(|actor| actor.name == Name::Cameo);
            (cameo(0) && !cameo(1) && !cameo(2)).then_some(told)
        });
        found.extend(told.collect::<Vec<_>>());
        start += SOUGHT;
    }
    found.truncate(options.cameos);
    found
}

/// The cameo's voice, where they speak.
fn voice(scene: &Scene) -> Option<Voice> {
    scene.speech.as_ref().filter(|speech| speech.speaker == 0).map(|speech| speech.voice)
}

/// A recording of the voice saying something else.
fn sample(scene: &Scene, voice: &Voice) -> Vec<f32> {
    let said = scene.speech.as_ref().map(|speech| speech.phrase);
    let phrases = [Phrase::OneTwoThree, Phrase::Hello];
    let other = phrases.into_iter().find(|phrase| Some(*phrase) != said).unwrap_or(Phrase::Hello);
    synthesise(&frames(other), voice, derive(scene.seed, "reference"))
}

fn show(
    generator: &Generator,
    told: &Told,
    drawn: &Performance,
    clips: &[Clip; 3],
) -> Result<Shown, EvaluateError> {
    let large = video(&generator.painter(), drawn)?;
    Ok(Shown {
        caption: told.sentences.first().cloned().unwrap_or_default(),
        note:
            "Above the model’s clip; below, frame by frame: the scene of the reference, its reconstruction, \
               the model’s clip."
                .to_owned(),
        poster_png: poster(&clips[2])?,
        sheet_png: contact_sheet_png(clips, SHEET_FRAMES)?,
        video: Some(large),
    })
}
