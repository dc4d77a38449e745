//! Finds impacts in a clip's sound: samples enter, the seconds at which something strikes leave.
//!
//! An onset is where the energy of a few milliseconds rises far above what came just before.

/// Samples between two looks at the energy: about two milliseconds.
const HOP: usize = 24;
/// Energy is compared with the loudest of this many looks before.
const BEFORE: usize = 12;
/// Rise, as a ratio of energies, that makes an onset.
const RISE: f32 = 6.0;
/// Quieter looks than this are silence.
const SILENCE: f32 = 2e-6;
/// Onsets nearer than this are one.
const NEAREST_S: f32 = 0.06;

/// Onsets in seconds, in order.
pub(super) fn onsets(samples: &[f32], sample_rate: u32) -> Vec<f32> {
    let energies: Vec<f32> = samples
        .chunks(HOP)
        .map(|chunk| chunk.iter().map(|sample| sample * sample).sum::<f32>() / chunk.len() as f32)
        .collect();
    let mut found: Vec<f32> = Vec::new();
    for (look, &energy) in energies.iter().enumerate() {
        let before = energies[look.saturating_sub(BEFORE)..look].iter().copied().fold(SILENCE, f32::max);
        if energy < RISE * before {
            continue;
        }
        let time_s = first_above(samples, look, energy) as f32 / sample_rate as f32;
        if found.last().is_none_or(|last| time_s - last > NEAREST_S) {
            found.push(time_s);
        }
    }
    found
}

/// The first sample of a look, or of the one before, that stands out.
fn first_above(samples: &[f32], look: usize, energy: f32) -> usize {
    let start = look.saturating_sub(1) * HOP;
    let level = 0.25 * energy.sqrt();
    let window = samples.iter().enumerate().skip(start).take(2 * HOP);
    window.into_iter().find(|(_, sample)| sample.abs() > level).map_or(look * HOP, |(at, _)| at)
}

/// Onsets matched one to one with contacts, nearest first: the offsets (onset minus contact), in seconds.
pub(super) fn offsets(onsets: &[f32], contacts: &[f32], within_s: f32) -> Vec<f32> {
    let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
    for (i, onset) in onsets.iter().enumerate() {
        pairs.extend(
            contacts
                .iter()
                .enumerate()
                .map(|(j, contact)| (onset - contact, i, j))
                .filter(|(offset, _, _)| offset.abs() <= within_s),
        );
    }
    pairs.sort_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
    let (mut used_onsets, mut used_contacts) = (vec![false; onsets.len()], vec![false; contacts.len()]);
    pairs
        .into_iter()
        .filter(|&(_, i, j)| {
            let free = !used_onsets[i] && !used_contacts[j];
            if free {
                used_onsets[i] = true;
                used_contacts[j] = true;
            }
            free
        })
        .map(|(offset, _, _)| offset)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_struck_tone_starts_where_it_starts() {
        let mut samples = vec![0.0_f32; 12_000];
        for start in [3000, 7777] {
            for index in 0..2000 {
                let t = index as f32 / 12_000.0;
                samples[start + index] += 0.5 * (-20.0 * t).exp() * (1200.0 * t).sin();
            }
        }
        let found = onsets(&samples, 12_000);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!((found[0] - 0.25).abs() < 0.002 && (found[1] - 0.648).abs() < 0.002, "{found:?}");
    }

    #[test]
    fn each_contact_is_matched_once() {
        let offsets = offsets(&[1.0, 1.01, 3.0], &[1.005, 2.0], 0.1);
        assert_eq!(offsets.len(), 1);
        assert!(offsets[0].abs() < 0.006);
    }
}
