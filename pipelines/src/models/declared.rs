//! All models, each above those that read it.

use kinora_schema::table::Table;

use super::{Check, Layer, Model, Source};

/// 2001-09-09, before which no time is meant.
const EARLIEST_MS: f64 = 1e12;
const DAY_MS: f64 = 86_400_000.0;

const fn share(column: &'static str) -> Check {
    Check::Between { column, low: 0.0, high: 1.0 }
}

const fn count(column: &'static str) -> Check {
    Check::Between { column, low: 0.0, high: f64::MAX }
}

const fn time(column: &'static str) -> Check {
    Check::Between { column, low: EARLIEST_MS, high: f64::MAX }
}

/// Models by name, in the order in which views are made.
pub const MODELS: &[Model] = &[
    Model {
        name: "events",
        layer: Layer::Raw,
        about: "Everything that people did or were shown, once.",
        source: Source::Table(Table::Events),
        checks: &[
            Check::NotNull(&["event_id", "kind", "event_time_ms", "ingested_time_ms", "user_id", "video_id"]),
            Check::Unique(&["event_id"]),
            Check::OneOf {
                column: "kind",
                values: &[
                    "impression",
                    "click",
                    "watch",
                    "like",
                    "share",
                    "follow",
                    "comment",
                    "profile_enter",
                    "not_interested",
                    "report",
                    "create",
                    "remix",
                ],
            },
            Check::Holds { what: "ids are not empty", condition: "user_id <> '' and video_id <> ''" },
            time("event_time_ms"),
            Check::Between { column: "watch_ms", low: 0.0, high: DAY_MS },
            Check::Between { column: "duration_ms", low: 1.0, high: DAY_MS },
            Check::Holds {
                what: "propensity above 0, at most 1",
                condition: "propensity is null or (propensity > 0 and propensity <= 1)",
            },
            Check::Holds {
                what: "a watch says how long",
                condition: "kind <> 'watch' or watch_ms is not null",
            },
            Check::Holds {
                what: "event_date is the day of event_time_ms",
                condition: "event_date = cast(cast(to_timestamp_millis(event_time_ms) as date) as varchar)",
            },
        ],
    },
    Model {
        name: "quarantine",
        layer: Layer::Raw,
        about: "Rows that did not enter, with the reason.",
        source: Source::Table(Table::Quarantine),
        checks: &[Check::NotNull(&["source", "row", "reason", "ingested_time_ms"]), count("row")],
    },
    Model {
        name: "users",
        layer: Layer::Raw,
        about: "What is known of each person, record by record.",
        source: Source::Table(Table::Users),
        checks: &[Check::NotNull(&["user_id", "attributes", "ingested_time_ms"])],
    },
    Model {
        name: "videos",
        layer: Layer::Raw,
        about: "What is known of each clip, record by record.",
        source: Source::Table(Table::Videos),
        checks: &[Check::NotNull(&["video_id", "attributes", "ingested_time_ms"]), count("duration_ms")],
    },
    Model {
        name: "histories",
        layer: Layer::Raw,
        about: "Imported histories whose times are unknown.",
        source: Source::Table(Table::Histories),
        checks: &[
            Check::NotNull(&["user_id", "ordinal", "video_id", "outcomes", "before_ms"]),
            count("ordinal"),
            Check::Between { column: "outcomes", low: 0.0, high: 511.0 },
        ],
    },
    Model {
        name: "users_latest",
        layer: Layer::Raw,
        about: "The record of each person that counts.",
        source: Source::View(include_str!("sql/users_latest.sql")),
        checks: &[Check::NotNull(&["user_id", "attributes"]), Check::Unique(&["user_id"])],
    },
    Model {
        name: "videos_latest",
        layer: Layer::Raw,
        about: "The record of each clip that counts.",
        source: Source::View(include_str!("sql/videos_latest.sql")),
        checks: &[Check::NotNull(&["video_id", "attributes"]), Check::Unique(&["video_id"])],
    },
    Model {
        name: "sessions",
        layer: Layer::Joined,
        about: "A person's events without a pause of half an hour.",
        source: Source::View(include_str!("sql/sessions.sql")),
        checks: &[
            Check::NotNull(&["session_id", "user_id", "started_ms", "ended_ms", "session_date"]),
            Check::Unique(&["session_id"]),
            Check::Between { column: "events", low: 1.0, high: f64::MAX },
            count("watch_ms"),
            Check::Holds { what: "sessions end after they begin", condition: "ended_ms >= started_ms" },
        ],
    },
    Model {
        name: "impression_outcomes",
        layer: Layer::Joined,
        about: "A clip that was shown, and what the person did with it.",
        source: Source::View(include_str!("sql/impression_outcomes.sql")),
        checks: &[
            Check::NotNull(&["impression_id", "event_time_ms", "user_id", "video_id", "watch_ms", "click"]),
            Check::Unique(&["impression_id"]),
            Check::Between { column: "watch_ms", low: 0.0, high: DAY_MS },
            Check::Found { column: "impression_id", model: "events", in_column: "event_id" },
        ],
    },
    Model {
        name: "user_features",
        layer: Layer::Features,
        about: "What each person did so far.",
        source: Source::View(include_str!("sql/user_features.sql")),
        checks: &[
            Check::NotNull(&["user_id", "impressions", "first_ms", "last_ms"]),
            Check::Unique(&["user_id"]),
            share("click_rate"),
            share("long_view_rate"),
            share("like_rate"),
            Check::Found { column: "user_id", model: "events", in_column: "user_id" },
        ],
    },
    Model {
        name: "video_engagement",
        layer: Layer::Features,
        about: "What people did with each clip so far.",
        source: Source::View(include_str!("sql/video_engagement.sql")),
        checks: &[
            Check::NotNull(&["video_id", "impressions"]),
            Check::Unique(&["video_id"]),
            share("click_rate"),
            share("long_view_rate"),
            share("like_rate"),
            count("mean_watch_ms"),
        ],
    },
    Model {
        name: "creator_features",
        layer: Layer::Features,
        about: "What people did with the clips of each creator so far.",
        source: Source::View(include_str!("sql/creator_features.sql")),
        checks: &[
            Check::NotNull(&["creator_id", "impressions"]),
            Check::Unique(&["creator_id"]),
            share("click_rate"),
            share("long_view_rate"),
            share("follow_rate"),
            Check::Found { column: "creator_id", model: "events", in_column: "creator_id" },
        ],
    },
    Model {
        name: "daily_engagement",
        layer: Layer::Mart,
        about: "Engagement day by day, UTC.",
        source: Source::View(include_str!("sql/daily_engagement.sql")),
        checks: &[
            Check::NotNull(&["event_date", "impressions", "viewers"]),
            Check::Unique(&["event_date"]),
            share("click_rate"),
            share("long_view_rate"),
            share("like_rate"),
            Check::Holds { what: "no more viewers than impressions", condition: "viewers <= impressions" },
        ],
    },
    Model {
        name: "retention_by_cohort",
        layer: Layer::Mart,
        about: "People by the week in which they came, and how many were there weeks later.",
        source: Source::View(include_str!("sql/retention_by_cohort.sql")),
        checks: &[
            Check::NotNull(&["cohort_week", "weeks_later", "cohort_size", "active"]),
            Check::Unique(&["cohort_week", "weeks_later"]),
            count("weeks_later"),
            share("retention"),
            Check::Holds {
                what: "all of a cohort are there in its first week",
                condition: "weeks_later > 0 or active = cohort_size",
            },
        ],
    },
    Model {
        name: "completion_by_duration",
        layer: Layer::Mart,
        about: "How much of a clip is watched, by its length.",
        source: Source::View(include_str!("sql/completion_by_duration.sql")),
        checks: &[
            Check::NotNull(&["from_s", "until_s", "impressions", "watches"]),
            Check::Unique(&["from_s"]),
            share("mean_completion"),
            share("completion_rate"),
            share("long_view_rate"),
        ],
    },
    Model {
        name: "funnel",
        layer: Layer::Mart,
        about: "From being shown a clip to making another of it, day by day.",
        source: Source::View(include_str!("sql/funnel.sql")),
        checks: &[
            Check::NotNull(&[
                "event_date",
                "shown",
                "clicked",
                "watched",
                "long_viewed",
                "liked",
                "shared",
                "remixed",
            ]),
            Check::Unique(&["event_date"]),
            Check::Holds { what: "who watched long had watched", condition: "long_viewed <= watched" },
            Check::Holds {
                what: "nothing without being shown",
                condition: "clicked <= shown and watched <= shown",
            },
        ],
    },
    Model {
        name: "creator_growth",
        layer: Layer::Mart,
        about: "What a creator published, reached and won, week by week.",
        source: Source::View(include_str!("sql/creator_growth.sql")),
        checks: &[
            Check::NotNull(&["creator_id", "week", "published", "impressions", "follows"]),
            Check::Unique(&["creator_id", "week"]),
            count("published"),
            Check::Holds { what: "follows add up", condition: "follows_so_far >= follows" },
        ],
    },
    Model {
        name: "experiment_people",
        layer: Layer::Mart,
        about: "What a person in an arm of an experiment on the feed did.",
        source: Source::View(include_str!("sql/experiment_people.sql")),
        checks: &[
            Check::NotNull(&["experiment", "arm", "user_id", "impressions"]),
            Check::Unique(&["experiment", "arm", "user_id"]),
            share("click_rate"),
        ],
    },
    Model {
        name: "experiment_results",
        layer: Layer::Mart,
        about: "Arms of experiments, compared by intervals that may be looked at at any time.",
        source: Source::View(include_str!("sql/experiment_results.sql")),
        checks: &[
            Check::NotNull(&["experiment", "arm", "metric", "people"]),
            Check::Unique(&["experiment", "arm", "metric"]),
            Check::Holds {
                what: "intervals hold the mean",
                condition: "low is null or (low <= mean and mean <= high)",
            },
        ],
    },
    Model {
        name: "shadow_results",
        layer: Layer::Mart,
        about: "A ranker in the shadow beside the champion, on the same impressions.",
        source: Source::View(include_str!("sql/shadow_results.sql")),
        checks: &[
            Check::NotNull(&["shadow", "task", "impressions"]),
            Check::Unique(&["shadow", "task"]),
            share("champion_auc"),
            share("shadow_auc"),
        ],
    },
];
