//! What is in force for a person: their own wishes, narrowed by their age and by every guardian.
//! Wishes and ceilings enter, one [`Settings`] leaves; nothing else may decide a setting.
//!
//! INVARIANT: the result is the meet of all that enters, so one more limit, of whatever kind,
//! never enlarges a permission.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Row};
use utoipa::ToSchema;

/// Minutes in a day: a daily limit of this many is no limit.
pub const NO_SCROLL_LIMIT: u32 = 1440;

/// Who may send a person messages, from the narrowest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MessagesFrom {
    /// Messages are off, in both directions.
    Nobody,
    /// Only those whom the person follows.
    Followed,
    Everyone,
}

impl MessagesFrom {
    pub const ALL: [Self; 3] = [Self::Nobody, Self::Followed, Self::Everyone];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Followed => "followed",
            Self::Everyone => "everyone",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|audience| audience.as_str() == name)
    }
}

/// A person's switches: as a wish, as a ceiling, or as what is in force.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own on the settings page")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// The feed may use what the person did before.
    pub personalisation: bool,
    /// The feed may use the place that the person gave.
    pub location: bool,
    /// The feed may use whom the person exchanges messages with.
    pub conversation_history: bool,
    /// Clips marked as sensitive may be shown.
    pub sensitive: bool,
    pub messages_from: MessagesFrom,
    /// Minutes of feed a day, 0 to 1440; 1440 is no limit.
    pub daily_scroll_minutes: u32,
}

/// How old a person is, as far as the platform treats people differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgeBand {
    /// Under 18, or turning 18 in the course of this year.
    Teen,
    Adult,
    /// No year of birth was recorded.
    Unknown,
}

impl AgeBand {
    /// The band in `year`. Whoever turns 18 in the course of the year stays a teen until it ends.
    pub fn of(birth_year: Option<i64>, year: i64) -> Self {
        match birth_year {
            None => Self::Unknown,
            Some(birth_year) if year - birth_year <= 18 => Self::Teen,
            Some(_) => Self::Adult,
        }
    }
}

impl Settings {
    /// The widest settings there are: the neutral element of [`Settings::meet`].
    pub const UNLIMITED: Self = Self {
        personalisation: true,
        location: true,
        conversation_history: true,
        sensitive: true,
        messages_from: MessagesFrom::Everyone,
        daily_scroll_minutes: NO_SCROLL_LIMIT,
    };

    /// The most that a teen's account may have, guardian or not.
    pub fn teen_ceiling(daily_scroll_minutes: u32) -> Self {
        Self {
            sensitive: false,
            messages_from: MessagesFrom::Followed,
            daily_scroll_minutes: daily_scroll_minutes.min(NO_SCROLL_LIMIT),
            ..Self::UNLIMITED
        }
    }

    /// What both allow.
    #[must_use]
    pub fn meet(self, other: Self) -> Self {
        Self {
            personalisation: self.personalisation && other.personalisation,
            location: self.location && other.location,
            conversation_history: self.conversation_history && other.conversation_history,
            sensitive: self.sensitive && other.sensitive,
            messages_from: self.messages_from.min(other.messages_from),
            daily_scroll_minutes: self.daily_scroll_minutes.min(other.daily_scroll_minutes),
        }
    }

    /// Names of the settings in which `self` goes beyond `ceiling`.
    pub fn beyond(&self, ceiling: &Self) -> Vec<&'static str> {
        let checks = [
            ("personalisation", self.personalisation <= ceiling.personalisation),
            ("location", self.location <= ceiling.location),
            ("conversation_history", self.conversation_history <= ceiling.conversation_history),
            ("sensitive", self.sensitive <= ceiling.sensitive),
            ("messages_from", self.messages_from <= ceiling.messages_from),
            ("daily_scroll_minutes", self.daily_scroll_minutes <= ceiling.daily_scroll_minutes),
        ];
        checks.into_iter().filter(|(_, within)| !within).map(|(name, _)| name).collect()
    }
}

/// The most that age and guardians leave a person.
pub fn ceiling(band: AgeBand, guardian_limits: &[Settings], teen_daily_scroll_minutes: u32) -> Settings {
    let by_age = match band {
        AgeBand::Teen => Settings::teen_ceiling(teen_daily_scroll_minutes),
        AgeBand::Adult | AgeBand::Unknown => Settings::UNLIMITED,
    };
    guardian_limits.iter().copied().fold(by_age, Settings::meet)
}

/// What is in force: the person's wishes, narrowed by `ceiling`.
pub fn effective(wishes: Settings, ceiling: Settings) -> Settings {
    wishes.meet(ceiling)
}

/// Reads the six columns of the same names, in `people` and in `guardian_links`.
impl<'r> FromRow<'r, SqliteRow> for Settings {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        let messages_from: String = row.try_get("messages_from")?;
        Ok(Self {
            personalisation: row.try_get("personalisation")?,
            location: row.try_get("location")?,
            conversation_history: row.try_get("conversation_history")?,
            sensitive: row.try_get("sensitive")?,
            // A name that this version does not know closes the box rather than opening it.
            messages_from: MessagesFrom::parse(&messages_from).unwrap_or(MessagesFrom::Nobody),
            daily_scroll_minutes: row.try_get("daily_scroll_minutes")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn settings() -> impl Strategy<Value = Settings> {
        (any::<[bool; 4]>(), 0_usize..3, 0..=NO_SCROLL_LIMIT).prop_map(|(flags, audience, minutes)| {
            Settings {
                personalisation: flags[0],
                location: flags[1],
                conversation_history: flags[2],
                sensitive: flags[3],
                messages_from: MessagesFrom::ALL[audience],
                daily_scroll_minutes: minutes,
            }
        })
    }

    fn band() -> impl Strategy<Value = AgeBand> {
        prop_oneof![Just(AgeBand::Teen), Just(AgeBand::Adult), Just(AgeBand::Unknown)]
    }

    proptest! {
        #[test]
        fn one_more_limit_never_enlarges_a_permission(
            wishes in settings(), band in band(), limits in prop::collection::vec(settings(), 0..4), more in settings(),
        ) {
            let before = effective(wishes, ceiling(band, &limits, 60));
            let mut narrower = limits;
            narrower.push(more);
            let after = effective(wishes, ceiling(band, &narrower, 60));
            prop_assert!(after.beyond(&before).is_empty());
        }

        #[test]
        fn no_wish_goes_beyond_the_ceiling(wishes in settings(), band in band(), limits in prop::collection::vec(settings(), 0..4)) {
            let ceiling = ceiling(band, &limits, 60);
            prop_assert!(effective(wishes, ceiling).beyond(&ceiling).is_empty());
            for limit in &limits {
                prop_assert!(effective(wishes, ceiling).beyond(limit).is_empty());
            }
        }

        #[test]
        fn a_tighter_wish_is_honoured(wishes in settings(), tighter in settings(), limits in prop::collection::vec(settings(), 0..4)) {
            let ceiling = ceiling(AgeBand::Teen, &limits, 60);
            let before = effective(wishes, ceiling);
            let after = effective(wishes.meet(tighter), ceiling);
            prop_assert!(after.beyond(&before).is_empty());
            prop_assert!(after.beyond(&tighter).is_empty());
        }

        #[test]
        fn the_order_of_guardians_does_not_matter(band in band(), mut limits in prop::collection::vec(settings(), 0..4)) {
            let forwards = ceiling(band, &limits, 60);
            limits.reverse();
            prop_assert_eq!(forwards, ceiling(band, &limits, 60));
        }
    }

    #[test]
    fn without_a_guardian_a_teen_has_the_teen_defaults() {
        let settings = effective(Settings::UNLIMITED, ceiling(AgeBand::Teen, &[], 60));
        assert_eq!(settings.daily_scroll_minutes, 60);
        assert_eq!(settings.messages_from, MessagesFrom::Followed);
        assert!(!settings.sensitive);
    }

    #[test]
    fn whoever_turns_eighteen_this_year_is_still_a_teen() {
        assert_eq!(AgeBand::of(Some(2008), 2026), AgeBand::Teen);
        assert_eq!(AgeBand::of(Some(2007), 2026), AgeBand::Adult);
        assert_eq!(AgeBand::of(None, 2026), AgeBand::Unknown);
    }
}
