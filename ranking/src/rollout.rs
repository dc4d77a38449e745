//! Which ranker is in force: versions in folders, and names that point to them.
//!
//! A version never changes; `aliases.json` beside the versions says which one is the champion that the feed ranks
//! by, which was before it, and which is tried in its shadow. The file is replaced in one step, so that who reads
//! it sees the names before a change or after it, and a server follows without a restart.

use std::fs;
use std::path::{Path, PathBuf};

use kinora_harness::publish::{self, FileError};
use serde::{Deserialize, Serialize};

use crate::artifact::{self, Trained};
use crate::error::{RankingError, Result};
use crate::scorer::Ranker;

const ALIASES: &str = "aliases.json";

/// The versions of an installation's ranker.
#[derive(Clone, Debug)]
pub struct Rankers {
    directory: PathBuf,
}

/// Names of versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Aliases {
    /// What the feed ranks by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub champion: Option<String>,
    /// What it ranked by before: where a rollback leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// Scores what the champion showed, and is logged beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<String>,
}

/// A version and how it came to be.
#[derive(Clone, Debug, Serialize)]
pub struct Version {
    pub version: String,
    pub trained: Trained,
}

impl Rankers {
    /// The versions under `directory`.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Where a version lies, or would.
    pub fn path(&self, version: &str) -> PathBuf {
        self.directory.join(version)
    }

    /// The name of the version after the newest: `v1`, `v2` and so on. One that was deleted while an alias points
    /// to it counts too, so that no alias comes to mean another ranker.
    pub fn next(&self) -> Result<String> {
        let Aliases { champion, previous, shadow } = self.aliases()?;
        let named = [champion, previous, shadow].into_iter().flatten();
        let newest =
            self.names()?.into_iter().chain(named).filter_map(|name| number(&name)).max().unwrap_or(0);
        Ok(format!("v{}", newest + 1))
    }

    /// The versions that are there, oldest first. What cannot be read is left out.
    pub fn versions(&self) -> Result<Vec<Version>> {
        let names = self.names()?.into_iter();
        Ok(names
            .filter_map(|version| {
                let trained = artifact::card(&self.path(&version)).ok()?.trained;
                Some(Version { version, trained })
            })
            .collect())
    }

    fn names(&self) -> Result<Vec<String>> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(FileError::at("read", &self.directory)(error).into()),
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| is_name(name) && self.path(name).is_dir())
            .collect();
        names.sort_by(|a, b| (number(a), a).cmp(&(number(b), b)));
        Ok(names)
    }

    /// The names in force. None where nothing was promoted yet.
    pub fn aliases(&self) -> Result<Aliases> {
        let path = self.directory.join(ALIASES);
        let json = match fs::read(&path) {
            Ok(json) => json,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Aliases::default()),
            Err(error) => return Err(FileError::at("read", &path)(error).into()),
        };
        serde_json::from_slice(&json)
            .map_err(|error| RankingError::Aliases { path, reason: error.to_string() })
    }

    /// Makes a version the champion. One that was in the shadow steps out of it.
    pub fn promote(&self, version: &str) -> Result<Aliases> {
        self.load(version)?;
        let aliases = self.aliases()?;
        if aliases.champion.as_deref() == Some(version) {
            return Ok(aliases);
        }
        self.write(Aliases {
            previous: aliases.champion,
            shadow: aliases.shadow.filter(|shadow| shadow != version),
            champion: Some(version.to_owned()),
        })
    }

    /// Makes the version before the champion the champion again. Done twice, nothing has changed.
    pub fn roll_back(&self) -> Result<Aliases> {
        let Aliases { champion, previous, shadow } = self.aliases()?;
        let Some(version) = previous else { return Err(RankingError::NothingBefore) };
        self.load(&version)?;
        self.write(Aliases { previous: champion, shadow, champion: Some(version) })
    }

    /// Lets a version score in the champion's shadow, or none.
    pub fn shadow(&self, version: Option<&str>) -> Result<Aliases> {
        if let Some(version) = version {
            self.load(version)?;
        }
        self.write(Aliases { shadow: version.map(str::to_owned), ..self.aliases()? })
    }

    /// Loads a version.
    pub fn load(&self, version: &str) -> Result<Ranker> {
        if !is_name(version) || !self.path(version).is_dir() {
            let names = self.names()?;
            let available = if names.is_empty() {
                "there is none yet: `kinora train ranker` makes one".to_owned()
            } else {
                format!("there is {}", names.join(", "))
            };
            return Err(RankingError::NoVersion { version: version.to_owned(), available });
        }
        Ranker::load(&self.path(version))
    }

    fn write(&self, aliases: Aliases) -> Result<Aliases> {
        fs::create_dir_all(&self.directory).map_err(FileError::at("create", &self.directory))?;
        let path = self.directory.join(ALIASES);
        let json = serde_json::to_vec_pretty(&aliases)
            .map_err(|error| RankingError::Aliases { path: path.clone(), reason: error.to_string() })?;
        publish::write_file(&path, &json)?;
        Ok(aliases)
    }
}

/// Names that cannot lead out of the directory, nor to what is being written.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('.')
        && !name.ends_with(".checkpoints")
        && Path::new(name).components().count() == 1
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

fn number(name: &str) -> Option<u64> {
    name.strip_prefix('v')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    /// Two versions of one ranker, and a broken third.
    fn rankers() -> (tempfile::TempDir, Rankers) {
        let (trained, _) = fixture::trained();
        let root = tempfile::tempdir().unwrap();
        let rankers = Rankers::at(root.path().join("rankers"));
        for version in ["v1", "v2", "v10"] {
            let to = rankers.path(version);
            fs::create_dir_all(&to).unwrap();
            for file in ["model.json", "weights.safetensors"] {
                fs::copy(trained.path().join("ranker").join(file), to.join(file)).unwrap();
            }
        }
        fs::write(rankers.path("v10").join("weights.safetensors"), "cut short").unwrap();
        fs::create_dir(rankers.path("v11.checkpoints")).unwrap();
        (root, rankers)
    }

    #[test]
    fn versions_are_promoted_rolled_back_and_shadowed() {
        let (_root, rankers) = rankers();
        let names: Vec<String> = rankers.versions().unwrap().into_iter().map(|it| it.version).collect();
        assert_eq!(names, ["v1", "v2", "v10"]);
        assert_eq!((rankers.next().unwrap(), rankers.aliases().unwrap()), ("v11".into(), Aliases::default()));
        assert!(rankers.roll_back().is_err(), "there is nothing before");

        rankers.promote("v1").unwrap();
        rankers.shadow(Some("v2")).unwrap();
        let both = rankers.aliases().unwrap();
        assert_eq!((both.champion.as_deref(), both.shadow.as_deref()), (Some("v1"), Some("v2")));
        let after = rankers.promote("v2").unwrap();
        assert_eq!((after.previous.as_deref(), after.shadow), (Some("v1"), None));
        assert_eq!(rankers.promote("v2").unwrap().previous.as_deref(), Some("v1"), "promoted twice");
        assert_eq!(rankers.roll_back().unwrap().champion.as_deref(), Some("v1"));
        assert_eq!(rankers.roll_back().unwrap().champion.as_deref(), Some("v2"));

        fs::remove_dir_all(rankers.path("v10")).unwrap();
        assert_eq!(rankers.next().unwrap(), "v3");
        fs::remove_dir_all(rankers.path("v2")).unwrap();
        assert_eq!(rankers.next().unwrap(), "v3", "the champion is called v2");
    }

    #[test]
    fn what_is_broken_or_not_there_changes_nothing_and_is_one_line() {
        let (_root, rankers) = rankers();
        rankers.promote("v1").unwrap();
        for version in ["v10", "v3", "../rankers/v1", "", ".", "v11.checkpoints"] {
            for error in [rankers.promote(version).unwrap_err(), rankers.shadow(Some(version)).unwrap_err()] {
                assert!(!error.to_string().contains('\n'), "{error}");
            }
        }
        assert!(rankers.promote("v3").unwrap_err().to_string().contains("v1, v2, v10"));
        assert_eq!(rankers.aliases().unwrap().champion.as_deref(), Some("v1"));
        fs::write(rankers.directory.join(ALIASES), "{").unwrap();
        assert!(!rankers.aliases().unwrap_err().to_string().contains('\n'));
    }
}
