//! The rooms keep their order, and the map in ARCHITECTURE.md is the tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use cargo_metadata::MetadataCommand;

/// Which rooms each room may open: itself stands below everything that names it.
const MAY_DEPEND_ON: [(&str, &[&str]); 7] = [
    ("kinora-schema", &[]),
    ("kinora-harness", &[]),
    ("kinora-pipelines", &["kinora-schema"]),
    ("kinora-ranking", &["kinora-schema", "kinora-harness"]),
    ("kinora-training", &["kinora-schema", "kinora-harness"]),
    (
        "kinora-serving",
        &["kinora-schema", "kinora-pipelines", "kinora-harness", "kinora-ranking", "kinora-training"],
    ),
    (
        "kinora",
        &[
            "kinora-schema",
            "kinora-pipelines",
            "kinora-harness",
            "kinora-ranking",
            "kinora-training",
            "kinora-serving",
        ],
    ),
];

fn metadata() -> cargo_metadata::Metadata {
    MetadataCommand::new().manifest_path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).exec().unwrap()
}

#[test]
fn dependencies_run_one_way() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = MAY_DEPEND_ON.into_iter().collect();
    let members = metadata.workspace_packages();
    assert_eq!(members.len(), allowed.len(), "a room is missing from the rule, or from the workspace");
    for package in members {
        let allowed = allowed[package.name.as_str()];
        for dependency in package.dependencies.iter().filter(|d| d.name.starts_with("kinora")) {
            assert!(
                allowed.contains(&dependency.name.as_str()),
                "{} may not depend on {}",
                package.name,
                dependency.name
            );
        }
    }
}

#[test]
fn one_version_of_each_crate_that_holds_data() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in metadata().packages {
        versions.entry(package.name.to_string()).or_default().insert(package.version.to_string());
    }
    for name in ["arrow", "parquet", "datafusion", "object_store", "burn"] {
        assert_eq!(versions[name].len(), 1, "{name}: {:?}", versions[name]);
    }
    assert!(!versions.contains_key("openssl-sys"), "the default build must not need OpenSSL's headers");
}

/// Every path in the map's code block exists, and every folder at the top has a line in it.
#[test]
fn the_map_is_the_tree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let map = text.split("```").nth(1).expect("ARCHITECTURE.md opens with the map");
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut listed = BTreeSet::new();
    for line in map.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let indent = line.len() - line.trim_start().len();
        let name = line.split_whitespace().next().unwrap();
        parents.retain(|(parent_indent, _)| *parent_indent < indent);
        let path = parents.iter().map(|(_, parent)| parent.as_str()).chain([name]).collect::<String>();
        assert!(root.join(&path).exists(), "ARCHITECTURE.md names {path}, which is not there");
        if indent == 0 {
            listed.insert(name.trim_end_matches('/').to_owned());
        }
        parents.push((indent, name.to_owned()));
    }
    let tracked = std::process::Command::new("git").args(["ls-files"]).current_dir(root).output().unwrap();
    for path in String::from_utf8(tracked.stdout).unwrap().lines() {
        if let Some((top, _)) = path.split_once('/') {
            assert!(listed.contains(top), "{top}/ is not on ARCHITECTURE.md's map");
        }
    }
}
