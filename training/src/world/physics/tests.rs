//! What must hold of any world.

use proptest::prelude::*;

use super::*;
use crate::world::{FPS, GRAVITY_M_S2};

fn ball(radius_m: f32, at_m: (f32, f32), velocity_m_s: (f32, f32), spin_rad_s: f32) -> Solid {
    let shape = Shape::Ball { radius_m };
    Solid { actor: 0, shape, at_m, velocity_m_s, angle_rad: 0.0, spin_rad_s, restitution: 0.8 }
}

fn world(solids: Vec<Solid>, fixture: Option<Fixture>) -> World {
    World { shot: Shot::Medium, solids, fixture, friction: 0.4, rolling_drag_m_s2: 0.0 }
}

fn energy_j(world: &World, states: &[State]) -> f32 {
    world
        .solids
        .iter()
        .zip(states)
        .map(|(solid, state)| {
            let rim_m_s = state.spin_rad_s * solid.reach_m(0.0).0;
            let moving = state.speed_m_s().powi(2) / 2.0 + rim_m_s.powi(2) / 4.0;
            solid.mass_kg() * (GRAVITY_M_S2 * state.y_m + moving)
        })
        .sum()
}

fn fixtures() -> impl Strategy<Value = Option<Fixture>> {
    let hoop = Hoop { height_m: 3.4, board_x_m: 7.2, mirrored: false };
    let ramp = Ramp { foot_x_m: 5.0, length_m: 2.9, height_m: 1.5, mirrored: false };
    prop_oneof![Just(None), Just(Some(Fixture::Hoop(hoop))), Just(Some(Fixture::Ramp(ramp)))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn energy_never_rises(
        (left, right) in (0.3..0.9_f32, 0.3..0.6_f32),
        (x, y) in (1.0..3.0_f32, 0.9..4.0_f32),
        (vx, vy, spin) in (-1.0..4.0_f32, -2.0..5.0_f32, -4.0..4.0_f32),
        speed in -2.0..0.5_f32,
        fixture in fixtures(),
        drag in prop_oneof![Just(0.0_f32), 0.1..0.8_f32],
    ) {
        let thrown = ball(left, (x, y.max(left)), (vx, vy), spin);
        let mut world = world(vec![thrown], fixture);
        if fixture.is_none() {
            world.solids.push(ball(right, (6.0, right), (speed, 0.0), -speed / right));
        }
        world.rolling_drag_m_s2 = drag;
        let Some(motion) = simulate(&world) else { return Ok(()) };
        let energies: Vec<f32> = motion.frames.iter().map(|states| energy_j(&world, states)).collect();
        for (frame, pair) in energies.windows(2).enumerate() {
            prop_assert!(pair[1] <= pair[0] * 1.003 + 0.02, "frame {}: {} J then {} J", frame, pair[0], pair[1]);
        }
    }

    #[test]
    fn where_floor_and_ramp_meet_no_energy_is_won(
        radius in 0.3..0.9_f32,
        (vx, vy, spin) in (0.0..4.0_f32, -6.0..0.0_f32, -4.0..4.0_f32),
        off in -0.02..0.02_f32,
    ) {
        let ramp = Ramp { foot_x_m: 5.0, length_m: 2.9, height_m: 1.5, mirrored: false };
        // In the wedge, the ball touches both.
        let wedge_x_m = 5.0 - radius * (ramp.angle_rad() / 2.0).tan();
        let fall_s = 0.4;
        let start = (wedge_x_m + off - vx * fall_s, radius - vy * fall_s + GRAVITY_M_S2 * fall_s * fall_s / 2.0);
        let world = world(vec![ball(radius, start, (vx, vy), spin)], Some(Fixture::Ramp(ramp)));
        let mut run = Run::new(&world);
        let mut before_j = energy_j(&world, &run.states());
        for frame in 0..(FPS as usize * 6 / 10) {
            run.advance(frame);
            let after_j = energy_j(&world, &run.states());
            prop_assert!(after_j <= before_j * 1.003 + 0.02, "frame {}: {} J then {} J", frame, before_j, after_j);
            before_j = after_j;
        }
        prop_assert!(!run.contacts.is_empty());
    }

    #[test]
    fn a_head_on_meeting_keeps_momentum_and_the_restitution(
        (left, right) in (0.3..0.9_f32, 0.3..0.9_f32),
        (fast, slow) in (1.0..3.0_f32, -2.0..0.5_f32),
        kept in 0.45..0.95_f32,
    ) {
        let (y, rise_m_s) = (4.0, 3.0);
        let mut solids = vec![
            ball(left, (2.5, y), (fast, rise_m_s), 0.0),
            ball(right, (2.5 + left + right + 0.5, y), (slow, rise_m_s), 0.0),
        ];
        for solid in &mut solids {
            solid.restitution = kept;
        }
        let world = world(solids, None);
        let mut run = Run::new(&world);
        let meet_s = 0.5 / (fast - slow);
        let frames = (meet_s * FPS as f32).ceil() as usize + 1;
        for frame in 0..frames {
            run.advance(frame);
        }
        let after = run.states();
        let [first, second] = [world.solids[0].mass_kg(), world.solids[1].mass_kg()];
        let (before, later) =
            (first * fast + second * slow, first * after[0].vx_m_s + second * after[1].vx_m_s);
        prop_assert!((before - later).abs() < 0.01 * (first * fast + second * slow.abs()));
        let parting = after[1].vx_m_s - after[0].vx_m_s;
        prop_assert!((parting / (kept * (fast - slow)) - 1.0).abs() < 0.01, "{} of {}", parting, kept);
        let contact = run.contacts[0];
        prop_assert!((contact.time_s - meet_s).abs() < 2e-4, "{} for {}", contact.time_s, meet_s);
        prop_assert!((contact.speed_m_s / (fast - slow) - 1.0).abs() < 0.001);
    }

    #[test]
    fn a_sliding_ball_rolls_once_a_third_of_its_speed_is_gone(
        radius in 0.3..0.9_f32,
        speed in 0.8..2.0_f32,
    ) {
        let mut world = world(vec![ball(radius, (1.0, radius), (speed, 0.0), 0.0)], None);
        world.shot = Shot::Wide;
        let motion = simulate(&world).unwrap();
        let last = &motion.frames[FRAMES - 1][0];
        prop_assert!((last.vx_m_s / (speed * 2.0 / 3.0) - 1.0).abs() < 0.01, "{} of {}", last.vx_m_s, speed);
        prop_assert!((last.vx_m_s + last.spin_rad_s * radius).abs() < 0.02);
        prop_assert!(motion.contacts.is_empty());
    }

    #[test]
    fn a_tipping_block_is_heard_when_it_lands(half_width in 0.1..0.3_f32, height in 1.0..1.6_f32) {
        // Leaning past its balance it falls, turning about its foot.
        let half_height = height / 2.0;
        let lean = (half_width / half_height).atan() + 0.2;
        let mut block = Solid::block(0, 0.0, half_width, half_height);
        let (sin, cos) = lean.sin_cos();
        block.at_m = (4.0 + half_height * sin - half_width * cos, half_height * cos + half_width * sin);
        block.angle_rad = -lean;
        let motion = simulate(&world(vec![block], None)).unwrap();
        let last = motion.frames[FRAMES - 1][0];
        prop_assert!((last.angle_rad.abs() - PI / 2.0).abs() < 0.02, "{}", last.angle_rad);
        let first = motion.contacts[0];
        prop_assert_eq!(first.kind, ContactKind::BlockFloor);
        let frame = (first.time_s * FPS as f32) as usize;
        let landed_s = first.time_s - frame as f32 / FPS as f32;
        if landed_s < 0.004 {
            return Ok(());
        }
        let before = motion.frames[frame][0];
        // Where the turning would have ended, had it gone on as it was.
        let left_rad = PI / 2.0 - before.angle_rad.abs();
        let gain = 1.5 * GRAVITY_M_S2 * half_height / (half_width.powi(2) + half_height.powi(2));
        let spin = before.spin_rad_s.abs();
        // The block's weight turns it a little faster still, as it nears the floor.
        let (slowest_s, fastest_s) = (left_rad / spin, left_rad / (spin + gain / 2.0 / FPS as f32));
        prop_assert!(landed_s < slowest_s + 2e-3 && landed_s > fastest_s - 2e-3, "{landed_s} of {slowest_s}");
    }
}
