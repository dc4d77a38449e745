//! One typed configuration for the server: defaults, then `kinora.toml`, then the environment
//! (`KINORA_SERVER__BIND`). Unknown keys are refused by name, so that a misspelt limit cannot
//! silently leave its default in force.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use kinora_pipelines::Retention;
use kinora_ranking::feed::Recipes;
use kinora_schema::table::Table;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The file that is read when none is named, if it exists.
pub const DEFAULT_FILE: &str = "kinora.toml";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub server: ServerConfig,
    pub storage: StorageConfig,
    pub generation: GenerationConfig,
    pub limits: LimitsConfig,
    pub safety: SafetyConfig,
    pub analytics: AnalyticsConfig,
    pub lake: LakeConfig,
    /// What the feed values, and what is being tried on whom.
    pub feed: Recipes,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerConfig {
    /// Address and port to listen on.
    pub bind: SocketAddr,
    /// Longest time until a response begins; streams may go on longer.
    pub request_timeout_ms: u64,
    /// Longest time that requests in flight get to finish once a shutdown is asked for.
    pub shutdown_grace_ms: u64,
    /// Proxies of your own, whose `X-Forwarded-For` says who asks.
    pub trusted_proxies: Vec<IpAddr>,
    /// A database of cities in the `MaxMind` format, such as `GeoLite2` City. With it, people who allow their
    /// location and gave no place are shown what is popular in the city that they ask from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cities: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// Everything that the installation keeps lies under this directory.
    pub data_dir: PathBuf,
}

/// How long the lake keeps what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// Days that the lake can be read as it was, and that somebody who was erased is left in earlier versions. Most
    /// laws that give a right to erasure allow a month.
    pub history_days: u32,
    /// Days of events that are kept, by the day they happened on; all where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_days: Option<u32>,
    /// Days that refused rows are kept, which may hold anything.
    pub quarantine_days: u32,
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self { history_days: 7, events_days: None, quarantine_days: 30 }
    }
}

impl LakeConfig {
    pub fn retention(&self) -> Retention {
        Retention {
            history: Duration::from_secs(u64::from(self.history_days) * 86_400),
            events_days: self.events_days,
            quarantine_days: Some(self.quarantine_days),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerationConfig {
    /// Generations rendered at the same time inside this process.
    pub workers: usize,
    /// Generations a person may start each UTC day before credits can be asked for.
    pub daily_allotment: u32,
    /// Demand peaks while more jobs than this wait; only then are credits charged.
    pub peak_queue_depth: u64,
    /// Credits for one generation beyond the allotment while demand peaks.
    pub credit_price: u32,
    /// Jobs that may wait before new ones are turned away.
    pub queue_max: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Largest request body accepted, in bytes.
    pub body_bytes: usize,
    /// Most items in one page of a list.
    pub page_size_max: u32,
    /// Bytes of events that may wait to be moved to the lake before new ones are turned away.
    pub event_log_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SafetyConfig {
    /// Largest picture accepted for a cameo, in bytes.
    pub cameo_picture_bytes: usize,
    /// Daily feed time of a teen's account, unless a guardian or the teen asks for less.
    pub teen_daily_scroll_minutes: u32,
    /// Days within which a decision may be appealed (the law asks for at least six months).
    pub appeal_days: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnalyticsConfig {
    /// Address and port of SQL over the `PostgreSQL` protocol; without it there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postgres: Option<SocketAddr>,
    /// Address and port of SQL over Arrow Flight SQL; without it there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flight_sql: Option<SocketAddr>,
    /// A certificate chain and its key, as PEM files. With them every connection must be encrypted; without them
    /// only addresses of this machine are listened on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_certificate: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_key: Option<PathBuf>,
    /// Questions answered at the same time, over all protocols.
    pub questions_at_once: usize,
    /// Longest time for one answer.
    pub deadline_s: u64,
    /// Most rows, and bytes as Arrow, of one answer over `PostgreSQL` and Flight SQL.
    pub rows_max: usize,
    pub bytes_max: usize,
    /// Rows of a table that analysts may see, as a condition in SQL.
    pub rows: BTreeMap<String, String>,
    /// Columns of a table that are null to analysts, besides those that always are.
    pub hidden: BTreeMap<String, Vec<String>>,
}

impl Default for AnalyticsConfig {
    fn default() -> Self {
        Self {
            postgres: None,
            flight_sql: None,
            tls_certificate: None,
            tls_key: None,
            questions_at_once: 8,
            deadline_s: 120,
            rows_max: 10_000_000,
            bytes_max: 4 << 30,
            rows: BTreeMap::new(),
            hidden: BTreeMap::new(),
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::from(([127, 0, 0, 1], 8080)),
            request_timeout_ms: 30_000,
            shutdown_grace_ms: 10_000,
            trusted_proxies: Vec::new(),
            cities: None,
        }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { data_dir: PathBuf::from("kinora-data") }
    }
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self { workers: 1, daily_allotment: 30, peak_queue_depth: 8, credit_price: 4, queue_max: 64 }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { body_bytes: 8 * 1024 * 1024, page_size_max: 100, event_log_bytes: 1024 * 1024 * 1024 }
    }
}

impl Default for SafetyConfig {
    fn default() -> Self {
        Self { cameo_picture_bytes: 5 * 1024 * 1024, teen_daily_scroll_minutes: 60, appeal_days: 184 }
    }
}

impl StorageConfig {
    /// Creates the data directory where it is missing, closed to everyone else on the machine.
    pub fn create_data_dir(&self) -> std::io::Result<()> {
        crate::private::create_dir(&self.data_dir)
    }

    pub fn lake(&self) -> PathBuf {
        self.data_dir.join("lake")
    }

    pub fn log(&self) -> PathBuf {
        self.data_dir.join("log")
    }

    pub fn state(&self) -> PathBuf {
        self.data_dir.join("state.sqlite")
    }

    pub fn media(&self) -> PathBuf {
        self.data_dir.join("media")
    }

    pub fn models(&self) -> PathBuf {
        self.data_dir.join("models")
    }

    pub fn keys(&self) -> PathBuf {
        self.data_dir.join("keys")
    }
}

/// Why a configuration was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("configuration file {} does not exist", .0.display())]
    Missing(PathBuf),
    #[error("unknown key `{key}` in {place}; expected one of: {expected}")]
    UnknownKey { key: String, place: String, expected: String },
    #[error("`{key}` in {place}: {problem}")]
    Invalid { key: String, place: String, problem: String },
}

impl Config {
    /// Reads `path`, or [`DEFAULT_FILE`] where it exists, and lays the environment over it.
    pub fn load(path: Option<&Path>) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        match path {
            Some(path) if !path.is_file() => return Err(ConfigError::Missing(path.to_owned())),
            Some(path) => figment = figment.merge(Toml::file_exact(path)),
            None if Path::new(DEFAULT_FILE).is_file() => {
                figment = figment.merge(Toml::file_exact(DEFAULT_FILE));
            }
            None => {}
        }
        // Only `KINORA_<SECTION>__<KEY>` names a setting, so that a client's KINORA_TOKEN in the
        // same shell is not taken for one.
        let environment = Env::prefixed("KINORA_").filter(|key| key.as_str().contains("__")).split("__");
        let config: Self = figment.merge(environment).extract().map_err(ConfigError::from_figment)?;
        config.check()?;
        Ok(config)
    }

    /// Refuses values that no running server could honour.
    fn check(&self) -> Result<(), ConfigError> {
        if let Err((key, problem)) = self.feed.check() {
            let place = "the configuration".to_owned();
            return Err(ConfigError::Invalid { key: key.to_owned(), place, problem });
        }
        if let Err((key, problem)) = self.analytics.check() {
            let place = "the configuration".to_owned();
            return Err(ConfigError::Invalid { key: format!("analytics.{key}"), place, problem });
        }
        let at_least_one = [
            ("server.request_timeout_ms", self.server.request_timeout_ms),
            ("generation.queue_max", self.generation.queue_max),
            ("limits.body_bytes", self.limits.body_bytes as u64),
            ("limits.event_log_bytes", self.limits.event_log_bytes),
            ("limits.page_size_max", u64::from(self.limits.page_size_max)),
            ("analytics.questions_at_once", self.analytics.questions_at_once as u64),
            ("analytics.deadline_s", self.analytics.deadline_s),
            ("lake.events_days", u64::from(self.lake.events_days.unwrap_or(1))),
            ("analytics.rows_max", self.analytics.rows_max as u64),
            ("analytics.bytes_max", self.analytics.bytes_max as u64),
            ("safety.cameo_picture_bytes", self.safety.cameo_picture_bytes as u64),
        ];
        match at_least_one.into_iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(ConfigError::Invalid {
                key: key.to_owned(),
                place: "the configuration".to_owned(),
                problem: "must be at least 1".to_owned(),
            }),
            None => Ok(()),
        }
    }
}

impl AnalyticsConfig {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let tables: Vec<&str> = Table::ALL.map(Table::name).into();
        let known = |name: &String| {
            tables.contains(&name.as_str()).then_some(()).ok_or_else(|| {
                let tables = tables.join(", ");
                format!("there is no table `{}`; there are {tables}", name.escape_debug())
            })
        };
        self.rows.keys().try_for_each(known).map_err(|problem| ("rows", problem))?;
        self.hidden.keys().try_for_each(known).map_err(|problem| ("hidden", problem))?;
        for (name, columns) in &self.hidden {
            for table in Table::ALL.into_iter().filter(|table| table.name() == name) {
                let schema = table.schema();
                if let Some(column) = columns.iter().find(|column| schema.field_with_name(column).is_err()) {
                    let problem = format!("the table `{name}` has no column `{}`", column.escape_debug());
                    return Err(("hidden", problem));
                }
            }
        }
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), Some(_)) => return Ok(()),
            (Some(_), None) => return Err(("tls_key", "a certificate needs its key".to_owned())),
            (None, Some(_)) => return Err(("tls_certificate", "a key needs its certificate".to_owned())),
            (None, None) => {}
        }
        let open = [("postgres", self.postgres), ("flight_sql", self.flight_sql)];
        match open
            .into_iter()
            .find_map(|(key, address)| Some((key, address?)).filter(|(_, at)| !at.ip().is_loopback()))
        {
            Some((key, address)) => Err((
                key,
                format!("{address} can be reached from other machines: give `tls_certificate` and `tls_key`"),
            )),
            None => Ok(()),
        }
    }
}

impl ConfigError {
    fn from_figment(error: figment::Error) -> Self {
        // Figment chains one error a value; the first is the one to mend first.
        let error = error.clone().into_iter().next().unwrap_or(error);
        let place = error.metadata.as_ref().map_or_else(
            || "the configuration".to_owned(),
            |metadata| match &metadata.source {
                Some(source) => source.to_string(),
                None => "the environment".to_owned(),
            },
        );
        let mut path = error.path.clone();
        match error.kind {
            Kind::UnknownField(field, expected) => {
                if path.last() != Some(&field) {
                    path.push(field);
                }
                Self::UnknownKey { key: path.join("."), place, expected: expected.join(", ") }
            }
            kind => {
                Self::Invalid { key: path.join("."), place, problem: kind.to_string().replace('\n', " ") }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kinora.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path))
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        assert_eq!(load("").unwrap(), Config::default());
    }

    #[test]
    fn the_defaults_print_and_read_back() {
        let text = toml::to_string(&Config::default()).unwrap();
        assert_eq!(load(&text).unwrap(), Config::default());
    }

    #[test]
    fn an_unknown_key_is_named_on_one_line_with_its_place() {
        let message = load("[server]\nbnid = \"0.0.0.0:80\"\n").unwrap_err().to_string();
        assert!(message.contains("`server.bnid`") && message.contains("kinora.toml"), "{message}");
        assert!(message.contains("bind") && !message.contains('\n'), "{message}");
        let message = load("[sever]\nbind = 1\n").unwrap_err().to_string();
        assert!(message.contains("`sever`") && message.contains("storage"), "{message}");
    }

    #[test]
    fn a_wrong_type_names_the_key() {
        let message = load("[generation]\nworkers = \"many\"\n").unwrap_err().to_string();
        assert!(message.contains("`generation.workers`") && !message.contains('\n'), "{message}");
    }

    #[test]
    fn a_broken_file_and_a_missing_file_are_one_line() {
        let message = load("[server\n").unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
        let message = Config::load(Some(Path::new("nowhere.toml"))).unwrap_err().to_string();
        assert_eq!(message, "configuration file nowhere.toml does not exist");
    }
}
