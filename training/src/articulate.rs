//! Articulates speech: a voice that babbles and a prompt enter, a voice that says the prompt's phrase leaves.
//!
//! The model decides whether somebody speaks, when and in which voice; which sounds a phrase is made of is
//! known (`world::speech`), and the mouth follows them. INVARIANT: a clip in which nobody speaks, or whose
//! prompt has no phrase, stays as it is.

use std::ops::Range;

use crate::performance::{Performance, Utterance};
use crate::words::spelled;
use crate::world::speech::{frames, mouth};
use crate::world::{Phrase, Track, VoiceFrame};

/// Words after which a caption says what is said.
const SAYING: [&str; 2] = ["says", "saying"];
/// Voice frames of silence that end a phrase: a quarter of a second, longer than any stop within one.
const PAUSE: usize = 12;
/// What is shorter than this, in voice frames, is no phrase.
const SHORTEST: usize = 5;

impl Phrase {
    /// What somebody says according to a prompt.
    pub(crate) fn said_in(prompt: &str) -> Option<Self> {
        let words = spelled(prompt);
        let after = words.iter().position(|word| SAYING.contains(&word.as_str()))? + 1;
        Self::ALL.into_iter().find(|phrase| {
            let mut said = words[after..].iter();
            phrase.words().split(' ').all(|word| said.next().is_some_and(|other| other == word))
        })
    }
}

/// The same with each stretch of speech as the phrase that the prompt asks for, where it sounds most like it.
pub(crate) fn articulate(mut performance: Performance, prompt: &str) -> Performance {
    let (Some(phrase), Some(utterance)) = (Phrase::said_in(prompt), &mut performance.utterance) else {
        return performance;
    };
    let said = frames(phrase);
    let mut spoken = vec![VoiceFrame::default(); utterance.frames.len()];
    let mut free = 0;
    for stretch in stretches(utterance) {
        if let Some(start) = place(&said, utterance, &stretch, free) {
            spoken[start..start + said.len()].copy_from_slice(&said);
            free = start + said.len();
        }
    }
    if free == 0 {
        return performance;
    }
    utterance.frames = spoken;
    let openings = mouth(&utterance.frames);
    let speaker = utterance.speaker;
    if let Some(Some(figure)) = performance.actors.get_mut(speaker)
        && let Track::Doll(poses) = &mut figure.track
    {
        for (pose, opening) in poses.iter_mut().zip(openings) {
            pose.mouth = opening;
        }
    }
    performance
}

fn loudness(frame: &VoiceFrame) -> f32 {
    frame.voiced + frame.noise
}

/// Where somebody speaks, with pauses between.
fn stretches(utterance: &Utterance) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, _) in utterance.frames.iter().enumerate().filter(|(_, frame)| loudness(frame) > 0.0) {
        match found.last_mut() {
            Some(last) if at - last.end < PAUSE => last.end = at + 1,
            _ => found.push(at..at + 1),
        }
    }
    found.retain(|stretch| stretch.len() >= SHORTEST);
    found
}

/// The frame, from `free` on, at which the phrase is as loud as the stretch, as nearly as may be; `None` where
/// it does not fit.
fn place(said: &[VoiceFrame], utterance: &Utterance, stretch: &Range<usize>, free: usize) -> Option<usize> {
    let last = utterance.frames.len().checked_sub(said.len())?;
    let earliest = stretch.start.saturating_sub(said.len()).max(free);
    let away = |start: usize| -> f32 {
        let around = stretch.start.min(start)..stretch.end.max(start + said.len());
        around
            .map(|at| {
                let drawn = utterance.frames.get(at).filter(|_| stretch.contains(&at)).map_or(0.0, loudness);
                let told = at.checked_sub(start).and_then(|at| said.get(at)).map_or(0.0, loudness);
                (drawn - told).powi(2)
            })
            .sum()
    };
    (earliest..=stretch.end.min(last)).min_by(|&a, &b| away(a).total_cmp(&away(b)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::train::latents::tell_family;
    use crate::world::Family;

    proptest! {
        #[test]
        fn every_phrase_is_found_in_its_caption(seed in 0_u64..4000) {
            for family in [Family::Walk, Family::Throw] {
                let told = tell_family(family, seed);
                let phrase = told.scene.speech.as_ref().map(|speech| speech.phrase);
                for sentence in &told.sentences {
                    prop_assert_eq!(Phrase::said_in(sentence), phrase, "{}", sentence);
                }
            }
        }

        #[test]
        fn babble_becomes_the_phrase_where_it_was(
            phrase in prop::sample::select(Phrase::ALL.to_vec()), start in 0_usize..120, seed in any::<u64>(),
        ) {
            let said = frames(phrase);
            let mut babble = vec![VoiceFrame::default(); 192];
            for (at, (heard, frame)) in babble[start..].iter_mut().zip(&said).enumerate() {
                let wobble = ((seed >> (at % 60)) & 1) as f32 * 0.1;
                let loud = |amplitude: f32| if amplitude > 0.0 { (amplitude - wobble).max(0.02) } else { 0.0 };
                *heard = VoiceFrame { voiced: loud(frame.voiced), noise: loud(frame.noise), formants_hz: [500.0, 1500.0], ..*frame };
            }
            let performance = speaking(babble);
            let prompt = format!("a person walks and says {}", phrase.words());
            let spoken = articulate(performance.clone(), &prompt).utterance.unwrap();
            let found = (0..120).min_by_key(|&at| {
                let off = said.iter().zip(&spoken.frames[at..]).map(|(a, b)| (loudness(a) - loudness(b)).abs()).sum::<f32>();
                (off * 1e4) as u64
            }).unwrap();
            prop_assert!(found.abs_diff(start) <= 2, "{} became {}", start, found);
            prop_assert_eq!(&spoken.frames[found..found + said.len()], &said[..]);
            prop_assert_eq!(articulate(performance.clone(), "a person walks"), performance);
        }
    }

    /// A walker with such a voice.
    fn speaking(frames: Vec<VoiceFrame>) -> Performance {
        let config = crate::size::ModelSize::Nano.config();
        let row = vec![0.0; config.layout().total()];
        let mut performance = Performance::from_row(&row, &config);
        let voice = crate::world::Voice { pitch_hz: 120.0, tract: 1.0, breath: 0.1, tilt_db: -12.0 };
        performance.utterance = Some(Utterance { speaker: 0, voice, frames });
        performance
    }
}
