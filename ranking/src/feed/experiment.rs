//! Two recipes side by side: who asks enters, the arm whose recipe is theirs leaves.
//!
//! INVARIANT: a person's arm follows from the experiment's name and their id alone, on every machine and
//! after every restart; shares that grow move nobody from one arm to another but the ones they take in.

use std::collections::HashSet;

use kinora_schema::UserId;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::query::FeedQuery;
use super::recipe::Recipe;
use super::weights::Weights;

/// What the feed values, and what is being tried.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipes {
    pub weights: Weights,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Experiment>,
}

/// One comparison of recipes over people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Letters, digits, `-` and `_`. Another name draws people anew.
    pub name: String,
    /// Two or more; whom no share reaches has the recipe without the experiment and is not compared.
    pub arms: Vec<Arm>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arm {
    pub name: String,
    /// Share of all people, in 0 to 1. Shares of all arms sum to at most 1.
    pub share: f64,
    /// Those without the experiment, where none are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<Weights>,
}

impl Recipes {
    /// The recipe for a query. With personalisation off it is one for all, in no experiment.
    pub fn recipe(&self, query: &FeedQuery) -> Recipe {
        let base = Recipe { weights: self.weights.clone(), ..Recipe::default() };
        let arm = self.experiment.as_ref().filter(|_| query.personalised);
        let Some((experiment, arm)) = arm.and_then(|it| Some((it, it.arm(&query.user_id)?))) else {
            return base;
        };
        Recipe {
            name: format!("{}+{}:{}", base.name, experiment.name, arm.name),
            weights: arm.weights.clone().unwrap_or(base.weights),
        }
    }

    /// What is wrong with it, and where.
    ///
    /// # Errors
    ///
    /// The key and the problem, in words.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let Some(Experiment { name, arms }) = &self.experiment else { return Ok(()) };
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        if let Some(bad) =
            std::iter::once(name).chain(arms.iter().map(|arm| &arm.name)).find(|it| !is_name(it))
        {
            let problem = format!("`{bad}` must be letters, digits, `-` and `_`");
            return Err(("feed.experiment", problem));
        }
        let names: HashSet<&str> = arms.iter().map(|arm| arm.name.as_str()).collect();
        if arms.len() < 2 || names.len() < arms.len() {
            return Err((
                "feed.experiment.arms",
                "needs two or more arms, each with its own name".to_owned(),
            ));
        }
        let shares: f64 = arms.iter().map(|arm| arm.share).sum();
        if arms.iter().any(|arm| !(0.0..=1.0).contains(&arm.share)) || shares > 1.0 + 1e-9 {
            let problem = format!("each `share` must be 0 to 1 and all together at most 1, not {shares}");
            return Err(("feed.experiment.arms", problem));
        }
        Ok(())
    }
}

impl Experiment {
    /// The arm of a person, if they are in one.
    pub fn arm(&self, user_id: &UserId) -> Option<&Arm> {
        let place = place(&self.name, user_id);
        let mut until = 0.0;
        self.arms.iter().find(|arm| {
            until += arm.share;
            place < until
        })
    }
}

/// Where a person stands in an experiment, evenly spread over 0 to 1.
fn place(experiment: &str, user_id: &UserId) -> f64 {
    let digest = Sha256::digest(format!("{experiment}\n{user_id}"));
    let bits = digest.iter().take(8).fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(name: &str, share: f64) -> Arm {
        Arm { name: name.to_owned(), share, weights: None }
    }

    fn experiment(name: &str, shares: [f64; 2]) -> Experiment {
        Experiment { name: name.to_owned(), arms: vec![arm("a", shares[0]), arm("b", shares[1])] }
    }

    fn arms_of(experiment: &Experiment) -> Vec<Option<String>> {
        (0..4000)
            .map(|id| experiment.arm(&UserId::new(format!("u{id}"))).map(|arm| arm.name.clone()))
            .collect()
    }

    #[test]
    fn people_fall_into_arms_by_their_shares_and_stay_there() {
        let arms = arms_of(&experiment("one", [0.5, 0.3]));
        let count = |arm: Option<&str>| arms.iter().filter(|it| it.as_deref() == arm).count();
        for (arm, expected) in [(Some("a"), 2000), (Some("b"), 1200), (None, 800)] {
            assert!(count(arm).abs_diff(expected) < 130, "{arm:?}: {}", count(arm));
        }
        assert_eq!(arms, arms_of(&experiment("one", [0.5, 0.3])));
        let grown = arms_of(&experiment("one", [0.5, 0.5]));
        assert!(arms.iter().zip(&grown).all(|(before, after)| before.is_none() || before == after));
        let other = arms_of(&experiment("two", [0.5, 0.3]));
        let both = arms.iter().zip(&other).filter(|(one, other)| one.as_deref() == Some("a") && one == other);
        assert!(both.count().abs_diff(1000) < 130, "experiments are drawn apart");
    }

    #[test]
    fn an_experiment_that_cannot_be_is_refused() {
        let check = |experiment| Recipes { experiment: Some(experiment), ..Recipes::default() }.check();
        assert!(check(experiment("fine-1", [0.5, 0.5])).is_ok());
        for bad in [
            experiment("a/b", [0.5, 0.5]),
            experiment("", [0.5, 0.5]),
            experiment("x", [0.7, 0.5]),
            experiment("x", [-0.1, 0.5]),
            experiment("x", [f64::NAN, 0.5]),
            Experiment { name: "x".to_owned(), arms: vec![arm("a", 0.5)] },
            Experiment { name: "x".to_owned(), arms: vec![arm("a", 0.5), arm("a", 0.5)] },
        ] {
            assert!(check(bad.clone()).is_err(), "{bad:?}");
        }
    }
}
