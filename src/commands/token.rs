//! `kinora token create`: access for a person, an analyst, a moderator or an app.

use std::time::Duration;

use clap::Subcommand;
use kinora_serving::auth::{NewToken, Role, create_token};
use kinora_serving::clock::Clock;
use kinora_serving::db::Db;

use crate::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Create a token and print it; this is the only time that it is shown.
    Create(Create),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Create {
    /// Whose token it is; the account is created where it does not exist.
    #[arg(long)]
    user: String,
    /// What it may do: user, analyst, moderator or admin.
    #[arg(long, default_value = "user", value_parser = parse_role)]
    role: Role,
    /// What the token is for, in your own words.
    #[arg(long, default_value = "")]
    name: String,
    /// Days until it expires; without it the token is good until revoked.
    #[arg(long)]
    days: Option<u32>,
    /// The person's year of birth; teens get a teen's defaults.
    #[arg(long)]
    birth_year: Option<i64>,
}

fn parse_role(name: &str) -> Result<Role, String> {
    Role::parse(name)
        .ok_or_else(|| format!("`{name}` is not a role; roles are user, analyst, moderator, admin"))
}

pub(crate) async fn run(action: Action, context: &Context) -> anyhow::Result<()> {
    let Action::Create(create) = action;
    let db = Db::open(&context.config.storage.state()).await?;
    let day_ms = Duration::from_hours(24).as_millis() as i64;
    let new = NewToken {
        name: create.name,
        ttl_ms: create.days.map(|days| i64::from(days) * day_ms),
        birth_year: create.birth_year,
        ..NewToken::new(create.user.into(), create.role)
    };
    let minted = create_token(&db, new, Clock::system().now_ms()).await?;
    context.output.result(&minted, || minted.token.clone())?;
    Ok(())
}
