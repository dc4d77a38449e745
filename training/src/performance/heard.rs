//! What is heard, as numbers of instants: bumps that mark impacts, and what a voice does.

use super::{Impact, NEAREST};
use crate::arcs::Strike;
use crate::model::latents::{IMPACT_FACTS, INSTANTS_PER_S};
use crate::size::ModelConfig;
use crate::world::{FPS, VoiceFrame};

/// Width, in instants, of the bump that marks an onset: wide enough to be read between instants.
const BUMP: f32 = 1.0;
/// A bump lower than this is no impact.
const FAINTEST_BUMP: f32 = 0.42;
/// Loudness that the latents count from.
const MIDDLE_LOUDNESS: f32 = -2.5;
/// A voice fainter than this is silence.
const FAINTEST_VOICE: f32 = 0.06;

/// An impact within so many frames of a strike is its sound.
const TOGETHER: f32 = 2.5;
/// Two strikes within so many frames are one sound.
const AT_ONCE: f32 = 1.5;
/// A strike that turns a ball by less than this, in metres a frame, may be silent: 1 m/s.
const SILENT_M: f64 = 1.0 / 24.0;

/// The impacts when something strikes. Where all that strikes is known (`complete`), what strikes unheard sounds
/// like the strike that is most like it; where nothing else sounds (`alone`), the rest is silent.
pub(super) fn sounding(impacts: &[Impact], strikes: &[Strike], [complete, alone]: [bool; 2]) -> Vec<Impact> {
    let frame = |impact: &Impact| impact.time_s * FPS as f32;
    let nearest = |impact: &Impact| {
        let away = |strike: &&Strike| (strike.time as f32 - frame(impact)).abs();
        let nearest = strikes.iter().min_by(|a, b| away(a).total_cmp(&away(b)));
        nearest.filter(|strike| away(strike) < TOGETHER)
    };
    let mut heard: Vec<(Impact, Option<f64>)> = Vec::new();
    for impact in impacts {
        match nearest(impact) {
            Some(strike) => {
                let time_s = strike.time as f32 / FPS as f32;
                heard.push((Impact { time_s, ..impact.clone() }, Some(strike.turn_m)));
            }
            None if !alone => heard.push((impact.clone(), None)),
            None => {}
        }
    }
    if complete {
        let known: Vec<(Impact, f64)> =
            heard.iter().filter_map(|(impact, turn)| Some((impact.clone(), (*turn)?))).collect();
        let known: Vec<(Impact, f64)> = known.into_iter().filter(|(_, turn_m)| *turn_m > SILENT_M).collect();
        for strike in strikes.iter().filter(|strike| strike.turn_m > SILENT_M) {
            let is_heard =
                heard.iter().any(|(impact, _)| (frame(impact) - strike.time as f32).abs() < AT_ONCE);
            let unlike = |turn_m: f64| (turn_m / strike.turn_m).ln().abs();
            let alike = known.iter().min_by(|a, b| unlike(a.1).total_cmp(&unlike(b.1)));
            if let (false, Some((alike, turn_m))) = (is_heard, alike) {
                // A sound is as loud as its impulse is large.
                let loudness = alike.loudness + (strike.turn_m / turn_m).ln() as f32;
                let loudness = loudness.clamp(-8.0, 0.0);
                let impact = Impact { time_s: strike.time as f32 / FPS as f32, loudness, ..alike.clone() };
                heard.push((impact, Some(strike.turn_m)));
            }
        }
    }
    let mut impacts: Vec<Impact> = heard.into_iter().map(|(impact, _)| impact).collect();
    impacts.retain(|impact| impact.time_s >= 0.0);
    impacts.sort_by(|a, b| a.time_s.total_cmp(&b.time_s));
    // Two that were drawn for one strike sound once, as the louder of them.
    impacts.dedup_by(|later, earlier| {
        let same = later.time_s.to_bits() == earlier.time_s.to_bits();
        if same && later.loudness > earlier.loudness {
            std::mem::swap(later, earlier);
        }
        same
    });
    impacts
}

/// The bump, and what is said under it, of the impact nearest to an instant.
pub(super) fn impact_at(instant: usize, impacts: &[&Impact], code: usize) -> Vec<f32> {
    let away = |impact: &Impact| (instant as f32 - impact.time_s * INSTANTS_PER_S).abs();
    let nearest = impacts.iter().min_by(|a, b| away(a).total_cmp(&away(b)));
    let mut numbers = vec![0.0; IMPACT_FACTS + code];
    if let Some(impact) = nearest {
        let bump = (-0.5 * (away(impact) / BUMP).powi(2)).exp();
        numbers[0] = bump;
        numbers[1] = bump * (impact.loudness - MIDDLE_LOUDNESS);
        for (number, timbre) in numbers[IMPACT_FACTS..].iter_mut().zip(&impact.timbre) {
            *number = bump * timbre;
        }
    }
    numbers
}

/// Reads impacts back: the bumps' peaks, placed between instants by their shoulders.
pub(super) fn impacts(sound: &[f32], config: &ModelConfig) -> Vec<Impact> {
    let width = IMPACT_FACTS + config.sound_code;
    let instants: Vec<&[f32]> =
        sound.chunks_exact(config.layout().instant).map(|instant| &instant[..width]).collect();
    let bump = |instant: usize| instants.get(instant).map_or(0.0, |numbers| numbers[0]);
    let mut found: Vec<Impact> = Vec::new();
    for (instant, numbers) in instants.iter().enumerate() {
        let (before, here, after) = (instant.checked_sub(1).map_or(0.0, bump), numbers[0], bump(instant + 1));
        if here < FAINTEST_BUMP || here < before || here <= after {
            continue;
        }
        let time_s = ((instant as f32 + between(before, here, after)) / INSTANTS_PER_S).max(0.0);
        let too_near = |last: &Impact| (time_s - last.time_s) * INSTANTS_PER_S < NEAREST;
        if found.last().is_some_and(too_near) {
            continue;
        }
        // Shoulders say the same under a lower bump: all three together say it best.
        let around = &instants[instant.saturating_sub(1)..(instant + 2).min(instants.len())];
        let weight: f32 = around.iter().map(|numbers| numbers[0].max(0.0)).sum();
        let mean = |place: usize| around.iter().map(|numbers| numbers[place]).sum::<f32>() / weight;
        found.push(Impact {
            time_s,
            loudness: (mean(1) + MIDDLE_LOUDNESS).clamp(-8.0, 0.0),
            timbre: (IMPACT_FACTS..width).map(|place| mean(place).clamp(-2.0, 2.0)).collect(),
        });
    }
    found
}

/// Where, in instants from the middle one, a bump through three values peaks.
fn between(before: f32, here: f32, after: f32) -> f32 {
    let [before, here, after] = [before, here, after].map(|value| value.max(0.02).ln());
    let curvature = before - 2.0 * here + after;
    if curvature > -1e-3 { 0.0 } else { (0.5 * (before - after) / curvature).clamp(-0.6, 0.6) }
}

pub(super) fn voice_frames(sound: &[f32], config: &ModelConfig) -> Vec<VoiceFrame> {
    let skipped = IMPACT_FACTS + config.sound_code;
    let loud = |amplitude: f32| if amplitude < FAINTEST_VOICE { 0.0 } else { amplitude.min(1.0) };
    sound
        .chunks_exact(config.layout().instant)
        .map(|instant| {
            let numbers = &instant[skipped..];
            VoiceFrame {
                voiced: loud(numbers[0]),
                noise: loud(numbers[1]),
                pitch: numbers[2].clamp(-1.0, 1.0).exp2(),
                formants_hz: [
                    (1000.0 * numbers[3]).clamp(200.0, 1100.0),
                    (1000.0 * numbers[4]).clamp(500.0, 3000.0),
                ],
                noise_hz: (1000.0 * numbers[5]).clamp(300.0, 5500.0),
            }
        })
        .collect()
}
