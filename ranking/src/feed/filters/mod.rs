//! Why a clip may not be shown. Safety comes first, so that a clip dropped for safety is counted
//! as that and not as something milder.

mod age;
mod blocked;
mod cameo;
mod moderation;
mod seen;
mod sensitive;
mod unwanted;

pub use age::AgeFilter;
pub use blocked::BlockedFilter;
pub use cameo::CameoFilter;
pub use moderation::ModerationFilter;
pub use seen::{ScrolledFilter, SeenFilter};
pub use sensitive::SensitiveFilter;
pub use unwanted::{NotInterestedFilter, SteeringFilter};
