//! `kinora ranker`: the versions of the feed's ranker, and which of them is in force.

use clap::Subcommand;
use jiff::Timestamp;
use kinora_ranking::rollout::{Aliases, Version};
use serde_json::json;

use crate::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// The versions that are there, and which is the champion, the one before it and the shadow.
    List,
    /// Make a version the champion that the feed ranks by. A running server follows within a second or two.
    Promote { version: String },
    /// Make the champion before this one the champion again.
    Rollback,
    /// Let a version score what the champion shows, and log it: `kinora sql "select * from shadow_results"`.
    Shadow { version: String },
    /// Let no version score in the shadow.
    Unshadow,
}

pub(crate) fn run(action: Action, context: &Context) -> anyhow::Result<()> {
    let rankers = context.rankers();
    let aliases = match action {
        Action::List => {
            let (versions, aliases) = (rankers.versions()?, rankers.aliases()?);
            context.output.result(&json!({ "versions": versions, "aliases": aliases }), || {
                table(&versions, &aliases)
            })?;
            return Ok(());
        }
        Action::Promote { version } => rankers.promote(&version)?,
        Action::Rollback => rankers.roll_back()?,
        Action::Shadow { version } => rankers.shadow(Some(&version))?,
        Action::Unshadow => rankers.shadow(None)?,
    };
    context.output.result(&aliases, || {
        let name = |alias: &Option<String>| alias.clone().unwrap_or_else(|| "none".to_owned());
        format!(
            "champion {}, before it {}, in its shadow {}",
            name(&aliases.champion),
            name(&aliases.previous),
            name(&aliases.shadow)
        )
    })?;
    Ok(())
}

fn table(versions: &[Version], aliases: &Aliases) -> String {
    if versions.is_empty() {
        return "there is no version yet: `kinora train ranker` makes one".to_owned();
    }
    let mut text = format!("{:<10}{:<12}{:>12}  {:<28}{}", "version", "", "examples", "events until", "run");
    for Version { version, trained } in versions {
        let alias =
            [("champion", &aliases.champion), ("previous", &aliases.previous), ("shadow", &aliases.shadow)];
        let alias =
            alias.iter().find(|(_, name)| name.as_ref() == Some(version)).map_or("", |(alias, _)| alias);
        let until =
            Timestamp::from_millisecond(trained.until_ms).map_or_else(|_| String::new(), |it| it.to_string());
        text += &format!("\n{version:<10}{alias:<12}{:>12}  {until:<28}{}", trained.rows, trained.run_id);
    }
    text
}
