//! One ball keeps one share of its speed in every bounce off the floor: the instants of its bounces enter, and
//! those that agree on a share leave.
//!
//! A ball that leaves the floor with v comes back after 2 v / g with v, and leaves again with a share of it. So
//! a row of bounces follows from the first instant, the first speed and the share: with the share fixed, least
//! squares; of all shares the one is taken that moves the instants least.

use super::fit::{Arc, Joint};
use crate::arcs::FALL_M;
use crate::cholesky::solve;

/// Shares that are considered, in thousandths.
const SHARES: std::ops::RangeInclusive<u32> = 250..=960;
/// How well an instant is known, in frames, and a speed, as a share of it.
const INSTANT: f64 = 0.25;
const SPEED: f64 = 0.06;

/// Frames that an instant may be moved by.
const FAR: f64 = 2.0;

/// Bounces in a row: the first and the last of the joints, and what is known of them.
struct Row {
    first: usize,
    times: Vec<f64>,
    /// Downwards before the first and upwards after the last, in metres a frame.
    speeds_m: [f64; 2],
}

/// A row that keeps one share: its first instant, and the speed before it.
struct Course {
    time: f64,
    speed_m: f64,
    off: f64,
}

/// Makes the bounces among the joints keep one share, and tells it; `None` where nothing bounces.
pub(super) fn agree(arcs: &[Arc], joints: &mut [Joint]) -> Option<f64> {
    let rows = rows(arcs, joints);
    let off =
        |share: f64| rows.iter().map(|row| row.course(share).map_or(f64::MAX, |course| course.off)).sum();
    let share = SHARES
        .map(|thousandths| f64::from(thousandths) / 1000.0)
        .map(|share| (share, off(share)))
        .min_by(|a: &(f64, f64), b| a.1.total_cmp(&b.1))
        .filter(|_| !rows.is_empty())?
        .0;
    for row in &rows {
        let Some(course) = row.course(share) else { continue };
        let times: Vec<f64> = (0..row.times.len()).map(|bounce| course.at(bounce, share)).collect();
        let last = row.first + times.len() - 1;
        let before = row.first.checked_sub(1).map_or(f64::NEG_INFINITY, |joint| joints[joint].time);
        let after = joints.get(last + 1).map_or(f64::INFINITY, |joint| joint.time);
        let is_far = times.iter().zip(&row.times).any(|(time, own)| (time - own).abs() > FAR);
        // What is no row of bounces, or would come before what it follows, stays as it was.
        if is_far || times[0] <= before || times[times.len() - 1] >= after || course.speed_m <= 0.0 {
            continue;
        }
        for (bounce, (joint, time)) in joints[row.first..].iter_mut().zip(times).enumerate() {
            let down_m = course.speed_m * share.powi(bounce as i32);
            joint.time = time;
            joint.speeds_m = Some([-down_m, share * down_m]);
        }
    }
    Some(share)
}

fn rows(arcs: &[Arc], joints: &[Joint]) -> Vec<Row> {
    let bounces =
        |joint: usize| joints[joint].floor_m.is_some() && arcs[joint].falls() && arcs[joint + 1].falls();
    let mut rows: Vec<Row> = Vec::new();
    for joint in (0..joints.len()).filter(|&joint| bounces(joint)) {
        let time = joints[joint].time;
        let rise_m = arcs[joint + 1].axes[1].slope(time);
        match rows.last_mut() {
            Some(row) if row.first + row.times.len() == joint => {
                row.times.push(time);
                row.speeds_m[1] = rise_m;
            }
            _ => {
                let speeds_m = [-arcs[joint].axes[1].slope(time), rise_m];
                rows.push(Row { first: joint, times: vec![time], speeds_m });
            }
        }
    }
    rows.retain(|row| row.speeds_m.iter().all(|speed_m| *speed_m > 0.0));
    rows
}

impl Row {
    /// What is most like the row and keeps `share`.
    fn course(&self, share: f64) -> Option<Course> {
        // Of the first instant and the first speed.
        let mut asked: Vec<([f64; 2], f64, f64)> = self
            .times
            .iter()
            .enumerate()
            .map(|(bounce, &time)| ([1.0, frames_until(bounce, share)], time, INSTANT))
            .collect();
        let [first_m, last_m] = self.speeds_m;
        asked.push(([0.0, 1.0], first_m, SPEED * first_m));
        asked.push(([0.0, share.powi(self.times.len() as i32)], last_m, SPEED * last_m));
        let product = |a: usize, b: usize| -> f64 {
            asked.iter().map(|(row, _, deviation)| row[a] * row[b] / deviation.powi(2)).sum()
        };
        let right = |a: usize| -> f64 {
            asked.iter().map(|(row, value, deviation)| row[a] * value / deviation.powi(2)).sum()
        };
        let matrix = vec![vec![product(0, 0), product(0, 1)], vec![product(1, 0), product(1, 1)]];
        let found = solve(matrix, vec![right(0), right(1)])?;
        let (time, speed_m) = (found[0], found[1]);
        let off = asked
            .iter()
            .map(|(row, value, deviation)| ((row[0] * time + row[1] * speed_m - value) / deviation).powi(2))
            .sum();
        Some(Course { time, speed_m, off })
    }
}

impl Course {
    fn at(&self, bounce: usize, share: f64) -> f64 {
        self.time + self.speed_m * frames_until(bounce, share)
    }
}

/// Frames from the first bounce to another, for a ball that comes down at a metre a frame.
fn frames_until(bounce: usize, share: f64) -> f64 {
    (1..=bounce as i32).map(|flight| share.powi(flight)).sum::<f64>() / -FALL_M
}
