//! The geometry of what stands on the stage, which physics and pictures share: where the rims and the board
//! of a hoop are, where the slope of a ramp runs.

use super::{Fixture, Hoop, Ramp};

impl Fixture {
    /// The same fixture as a mirror in the middle of a view of `view_m` shows it.
    pub(super) fn mirror(self, view_m: f32) -> Self {
        match self {
            Self::Hoop(hoop) => {
                Self::Hoop(Hoop { board_x_m: view_m - hoop.board_x_m, mirrored: !hoop.mirrored, ..hoop })
            }
            Self::Ramp(ramp) => {
                Self::Ramp(Ramp { foot_x_m: view_m - ramp.foot_x_m, mirrored: !ramp.mirrored, ..ramp })
            }
        }
    }
}

impl Hoop {
    pub const RIM_RADIUS_M: f32 = 0.06;
    /// Distance between the rims.
    pub const OPENING_M: f32 = 1.5;
    /// How far the net hangs down and brakes.
    pub const NET_DEPTH_M: f32 = 0.9;
    const BRACKET_M: f32 = 0.15;
    const BOARD_THICKNESS_M: f32 = 0.18;

    fn outwards(&self) -> f32 {
        if self.mirrored { 1.0 } else { -1.0 }
    }

    /// The rim nearest to the board, then the other.
    pub fn rim_x_m(&self) -> [f32; 2] {
        let near = self.board_x_m + self.outwards() * Self::BRACKET_M;
        [near, near + self.outwards() * Self::OPENING_M]
    }

    /// Lower and upper corners of the board.
    pub fn board_box(&self) -> ((f32, f32), (f32, f32)) {
        let back = self.board_x_m - self.outwards() * Self::BOARD_THICKNESS_M;
        ((self.board_x_m.min(back), self.height_m - 0.15), (self.board_x_m.max(back), self.height_m + 1.6))
    }

    /// Middle of the opening.
    pub fn centre_x_m(&self) -> f32 {
        let [near, far] = self.rim_x_m();
        f32::midpoint(near, far)
    }

    /// True for an x between the rims.
    pub fn spans(&self, x_m: f32) -> bool {
        (x_m - self.centre_x_m()).abs() < Self::OPENING_M / 2.0
    }
}

impl Ramp {
    /// +1 where the ramp rises to the right, -1 where it rises to the left.
    fn uphill(&self) -> f32 {
        if self.mirrored { -1.0 } else { 1.0 }
    }

    /// Angle of the slope, from 0 (flat).
    pub fn angle_rad(&self) -> f32 {
        self.height_m.atan2(self.length_m)
    }

    /// Length of the slope itself.
    pub fn slope_m(&self) -> f32 {
        self.length_m.hypot(self.height_m)
    }

    /// The corners: the foot, the top, and the floor below the top.
    pub fn corners(&self) -> [(f32, f32); 3] {
        let back = self.foot_x_m + self.uphill() * self.length_m;
        [(self.foot_x_m, 0.0), (back, self.height_m), (back, 0.0)]
    }

    /// Unit vector down the slope.
    pub fn downhill(&self) -> (f32, f32) {
        let (sin, cos) = self.angle_rad().sin_cos();
        (-self.uphill() * cos, -sin)
    }

    /// Unit vector out of the slope.
    pub fn normal(&self) -> (f32, f32) {
        let (sin, cos) = self.angle_rad().sin_cos();
        (-self.uphill() * sin, cos)
    }

    /// The point of the slope that is `along_m` up from the foot.
    pub fn point_m(&self, along_m: f32) -> (f32, f32) {
        let (x, y) = self.downhill();
        (self.foot_x_m - along_m * x, -along_m * y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slope_runs_from_the_foot_to_the_top_on_either_side() {
        for mirrored in [false, true] {
            let ramp = Ramp { foot_x_m: 3.0, length_m: 2.0, height_m: 1.0, mirrored };
            let [_, top, _] = ramp.corners();
            let end = ramp.point_m(ramp.slope_m());
            assert!((end.0 - top.0).abs() < 1e-5 && (end.1 - top.1).abs() < 1e-5);
            let (along, out) = (ramp.downhill(), ramp.normal());
            assert!((along.0 * out.0 + along.1 * out.1).abs() < 1e-6 && out.1 > 0.0);
            assert_eq!(top.0 < 3.0, mirrored);
        }
    }

    #[test]
    fn a_mirror_image_mirrors_back() {
        let hoop = Fixture::Hoop(Hoop { height_m: 3.0, board_x_m: 7.0, mirrored: false });
        assert_eq!(hoop.mirror(8.0).mirror(8.0), hoop);
    }
}
