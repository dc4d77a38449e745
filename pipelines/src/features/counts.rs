//! Counters of a person, a clip, a creator or a pair, and the smoothed means made of them.

use kinora_schema::ranking::Engagement;

/// Watches' worth of the platform's mean that a person's or a clip's mean over watches starts from.
const PRIOR_WATCHES: f64 = 10.0;
/// The platform's rates before it has any events.
pub(super) const INITIAL_RATES: Rates = Rates { click: 0.3, long_view: 0.3, like: 0.02, watch_ratio: 0.3 };
pub(super) const INITIAL_PER_WATCH: PerWatch = PerWatch { long_view: 0.4, like: 0.03 };

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    impressions: u32,
    clicks: u32,
    long_views: u32,
    likes: u32,
    watch_ratio: f64,
    /// Watches, imported ones among them; those have no impressions to count in a rate.
    watches: u32,
    imported_long_views: u32,
    imported_likes: u32,
}

/// Means over impressions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rates {
    pub(super) click: f64,
    pub(super) long_view: f64,
    pub(super) like: f64,
    pub(super) watch_ratio: f64,
}

/// Means over watches.
#[derive(Clone, Copy, Debug)]
pub(super) struct PerWatch {
    pub(super) long_view: f64,
    pub(super) like: f64,
}

impl Counts {
    pub(super) fn add(&mut self, change: Change) {
        match change {
            Change::Impression => self.impressions = self.impressions.saturating_add(1),
            Change::Click => self.clicks = self.clicks.saturating_add(1),
            Change::Like => self.likes = self.likes.saturating_add(1),
            Change::Watch { ratio, long } => {
                self.watch_ratio += ratio;
                self.watches = self.watches.saturating_add(1);
                self.long_views = self.long_views.saturating_add(u32::from(long));
            }
            Change::ImportedWatch { long, liked } => {
                self.watches = self.watches.saturating_add(1);
                self.imported_long_views = self.imported_long_views.saturating_add(u32::from(long));
                self.imported_likes = self.imported_likes.saturating_add(u32::from(liked));
            }
        }
    }

    pub(super) fn engagement(&self) -> Engagement {
        // As in `rates`: an outcome without an impression is no reason for a rate above one.
        let count = |count: u32| count.min(self.impressions) as f32;
        Engagement {
            impressions: self.impressions as f32,
            clicks: count(self.clicks),
            long_views: count(self.long_views),
            likes: count(self.likes),
        }
    }

    pub(super) fn log_impressions(&self) -> f32 {
        f64::from(self.impressions).ln_1p() as f32
    }

    pub(super) fn log_watches(&self) -> f32 {
        f64::from(self.watches).ln_1p() as f32
    }

    pub(super) fn per_watch(&self, prior: PerWatch) -> PerWatch {
        let watches = f64::from(self.watches);
        let mean = |count: u32, imported: u32, prior: f64| {
            let sum = f64::from(count) + f64::from(imported) + PRIOR_WATCHES * prior;
            (sum / (watches + PRIOR_WATCHES)).min(1.0)
        };
        PerWatch {
            long_view: mean(self.long_views, self.imported_long_views, prior.long_view),
            like: mean(self.likes, self.imported_likes, prior.like),
        }
    }

    pub(super) fn rates(&self, prior: Rates, weight: f64) -> Rates {
        let impressions = f64::from(self.impressions);
        // An outcome without an impression (a deep link, an imported click) is no reason for a rate
        // above one.
        let rate = |sum: f64, prior: f64| ((sum + weight * prior) / (impressions + weight)).min(1.0);
        Rates {
            click: rate(f64::from(self.clicks), prior.click),
            long_view: rate(f64::from(self.long_views), prior.long_view),
            like: rate(f64::from(self.likes), prior.like),
            watch_ratio: rate(self.watch_ratio, prior.watch_ratio),
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    Impression,
    Click,
    Like,
    Watch { ratio: f64, long: bool },
    ImportedWatch { long: bool, liked: bool },
}
