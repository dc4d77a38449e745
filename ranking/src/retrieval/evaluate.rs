//! How good retrieval is on items that no training has seen: all items ranked, those of the history left out.
//!
//! The last item of everyone is wanted after all items before it. The model stands beside two baselines that
//! need no training: what is popular, and what most often followed the latest item.
//! INVARIANT: a person whose wanted item the model does not know counts as missed, not as absent.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use serde::Serialize;

use super::artifact::{self, Loaded};
use super::metrics::{self, gini, hit, ndcg, reciprocal};
use super::model::Retriever;
use super::sequences::{Sequences, Split};
use crate::error::{RankingError, Result};
use crate::interval::{Draws, Interval};
use crate::train::read_floats;

/// Histories that are scored at once.
const BATCH: usize = 64;
/// Places of the list that figures look at.
const CUTOFFS: [usize; 6] = [1, 5, 10, 20, 50, 100];
/// Length of the lists whose variety is measured.
const LIST: usize = 10;
/// Draws that intervals come from.
const DRAWS: usize = 200;
/// Groups of people and of items, of about the same size.
const GROUPS: usize = 4;

/// A figure with its 95% interval over people.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Figure {
    pub value: f64,
    pub interval: Option<Interval>,
}

/// Figures at one length of the list.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AtCutoff {
    pub cutoff: usize,
    pub hit_rate: Figure,
    pub ndcg: Figure,
    pub mrr: Figure,
}

/// What one way of retrieving gives.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RetrievalFigures {
    pub at: Vec<AtCutoff>,
    /// Share of the catalogue that is in the first ten of anybody.
    pub coverage: f64,
    /// Mean of `-log2` of the share of people who have an item, over the first tens: how unexpected they are.
    pub novelty_bits: f64,
    /// Mean share of people who have an item, over the first tens, against the same of the wanted items: 1 where
    /// lists are as popular as what people want.
    pub popularity_lift: f64,
    /// How unequally the first tens spread over the catalogue: 0 evenly, near 1 on one item.
    pub gini: f64,
}

/// The model's figures for some of the people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GroupFigures {
    /// What the group is made by, least and most, both included.
    pub from: u64,
    pub until: u64,
    pub people: usize,
    pub hit_rate: Figure,
    pub ndcg: Figure,
}

/// An evaluation of a retrieval model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RetrievalReport {
    pub people: usize,
    pub items: usize,
    /// Items of the file that the model does not know, and people who want one of them.
    pub unknown_items: usize,
    pub unknown_wanted: usize,
    pub model: RetrievalFigures,
    /// By name: `popular`, `follows_latest`.
    pub baselines: BTreeMap<&'static str, RetrievalFigures>,
    /// At ten, by how many items a person has.
    pub by_activity: Vec<GroupFigures>,
    /// At ten, by how many people have the wanted item.
    pub by_popularity: Vec<GroupFigures>,
    pub bootstrap_draws: usize,
    pub seed: u64,
}

/// Evaluates the model in `directory` on the last item of everyone in a file of `user item` lines.
pub fn evaluate(directory: &Path, sequences: &Path, device: &Device, seed: u64) -> Result<RetrievalReport> {
    let loaded = artifact::load(directory, device)?;
    let file = Sequences::read(sequences)?;
    let (people, unknown_items) = in_the_models_numbers(&file, &loaded);
    if people.iter().all(|person| person.wanted.is_none()) {
        return Err(RankingError::Retriever {
            path: directory.to_owned(),
            reason: format!("it knows none of the items that people want in `{}`", sequences.display()),
        });
    }
    let items = loaded.items.len();
    let counts = popularity(&people, items);
    let draws = Draws::new(&(0..people.len() as u32).collect::<Vec<_>>(), DRAWS, seed);
    let judge = |lists: &[List]| figures(lists, &people, &counts, &draws);

    let model = lists_of_model(&loaded.model, &people)?;
    let popular: Vec<f32> = counts.iter().map(|&count| count as f32).collect();
    let followers = followers(&people, &counts);
    let baselines = BTreeMap::from([
        ("popular", judge(&lists_by(&people, items, |_, scores| scores.copy_from_slice(&popular)))),
        (
            "follows_latest",
            judge(&lists_by(&people, items, |person, scores| followers.score(person, scores))),
        ),
    ]);
    let activity = |person: &Person| person.history.len() as u64;
    let wanted = |person: &Person| person.wanted.map_or(0, |item| counts[item as usize]);
    Ok(RetrievalReport {
        people: people.len(),
        items,
        unknown_items,
        unknown_wanted: people.iter().filter(|person| person.wanted.is_none()).count(),
        model: judge(&model),
        baselines,
        by_activity: groups(&model, &people, activity, seed),
        by_popularity: groups(&model, &people, wanted, seed),
        bootstrap_draws: DRAWS,
        seed,
    })
}

/// Somebody to retrieve for, in the model's numbers.
#[derive(Clone, Debug)]
struct Person {
    /// Without items that the model does not know.
    history: Vec<u32>,
    wanted: Option<u32>,
}

/// Where a person's wanted item came, and the first of the list.
#[derive(Clone, Debug)]
struct List {
    rank: usize,
    first: Vec<u32>,
}

fn in_the_models_numbers(file: &Sequences, loaded: &Loaded) -> (Vec<Person>, usize) {
    let numbers: HashMap<&str, u32> =
        loaded.items.iter().enumerate().map(|(number, id)| (id.as_str(), number as u32)).collect();
    let known: Vec<Option<u32>> = file.items.iter().map(|id| numbers.get(id.as_str()).copied()).collect();
    let people = file.splits().map(|Split { train, validation, test }| Person {
        history: train.iter().chain([&validation]).filter_map(|&item| known[item as usize]).collect(),
        wanted: known[test as usize],
    });
    (people.collect(), known.iter().filter(|known| known.is_none()).count())
}

/// How many people have each item in their history.
fn popularity(people: &[Person], items: usize) -> Vec<u64> {
    let mut counts = vec![0; items];
    for person in people {
        let mut had = person.history.clone();
        had.sort_unstable();
        had.dedup();
        had.iter().for_each(|&item| counts[item as usize] += 1);
    }
    counts
}

/// Of each person, the rank of the wanted item after `histories`, where the items of `seen` do not count.
pub fn ranks(model: &Retriever, histories: &[&[u32]], seen: &[&[u32]], wanted: &[u32]) -> Result<Vec<usize>> {
    let known = |person: usize, scores: &[f32]| metrics::rank(scores, wanted[person], seen[person]);
    scored(model, histories, &known)
}

fn lists_of_model(model: &Retriever, people: &[Person]) -> Result<Vec<List>> {
    let histories: Vec<&[u32]> = people.iter().map(|person| person.history.as_slice()).collect();
    scored(model, &histories, &|person, scores| list(&people[person], scores))
}

/// Lists by scores that are written for each person; nobody needs a model.
fn lists_by(people: &[Person], items: usize, score: impl Fn(&Person, &mut [f32]) + Sync) -> Vec<List> {
    let of = |person: &Person| {
        let mut scores = vec![0.0; items];
        score(person, &mut scores);
        list(person, &scores)
    };
    people.par_iter().map(of).collect()
}

fn list(person: &Person, scores: &[f32]) -> List {
    let mut scores = scores.to_vec();
    let rank = person.wanted.map_or(usize::MAX, |wanted| metrics::rank(&scores, wanted, &person.history));
    person.history.iter().filter(|item| person.wanted != Some(**item)).for_each(|&item| {
        scores[item as usize] = f32::NEG_INFINITY;
    });
    let mut order: Vec<u32> = (0..scores.len() as u32).collect();
    let higher = |a: &u32, b: &u32| scores[*b as usize].total_cmp(&scores[*a as usize]).then(a.cmp(b));
    let most = LIST.min(order.len());
    if most < order.len() {
        order.select_nth_unstable_by(most, higher);
        order.truncate(most);
    }
    order.sort_unstable_by(higher);
    List { rank, first: order }
}

/// What `read` makes of each person's scores of all items.
fn scored<T: Send>(
    model: &Retriever,
    histories: &[&[u32]],
    read: &(dyn Fn(usize, &[f32]) -> T + Sync),
) -> Result<Vec<T>> {
    let length = model.length();
    let items = model.items().dims()[0];
    let (nobody, mut order): (Vec<usize>, Vec<usize>) =
        (0..histories.len()).partition(|&person| histories[person].is_empty());
    // Similar lengths together: little is computed in vain.
    order.sort_by_key(|&person| histories[person].len().min(length));
    let found: Vec<Vec<(usize, T)>> = order
        .par_chunks(BATCH)
        .map(|people| {
            let latest = |&person: &usize| {
                let history = histories[person];
                &history[history.len().saturating_sub(length)..]
            };
            let scores = scores(model, &people.iter().map(latest).collect::<Vec<_>>())?;
            let people = people.iter().zip(scores.chunks_exact(items));
            Ok(people.map(|(&person, scores)| (person, read(person, scores))).collect())
        })
        .collect::<Result<_>>()?;
    // Of whom nothing is known, nothing is scored.
    let unscored = vec![0.0; items];
    let mut found: Vec<(usize, T)> = found.into_iter().flatten().collect();
    found.extend(nobody.into_iter().map(|person| (person, read(person, &unscored))));
    found.sort_by_key(|(person, _)| *person);
    Ok(found.into_iter().map(|(_, read)| read).collect())
}

/// Scores of all items, history after history.
fn scores(model: &Retriever, histories: &[&[u32]]) -> Result<Vec<f32>> {
    let queries: Tensor<2> = model.last_queries(histories);
    read_floats(queries.matmul(model.items().transpose()))
}

/// What followed each item, and how often; popularity decides between what followed alike.
struct Followers<'a> {
    of: HashMap<u32, HashMap<u32, u32>>,
    counts: &'a [u64],
    most: f32,
}

fn followers<'a>(people: &[Person], counts: &'a [u64]) -> Followers<'a> {
    let mut of: HashMap<u32, HashMap<u32, u32>> = HashMap::new();
    for pair in people.iter().flat_map(|person| person.history.windows(2)) {
        *of.entry(pair[0]).or_default().entry(pair[1]).or_default() += 1;
    }
    let most = counts.iter().max().map_or(1.0, |&most| most as f32 + 1.0);
    Followers { of, counts, most }
}

impl Followers<'_> {
    fn score(&self, person: &Person, scores: &mut [f32]) {
        for (score, &count) in scores.iter_mut().zip(self.counts) {
            *score = count as f32 / self.most;
        }
        if let Some(followers) = person.history.last().and_then(|latest| self.of.get(latest)) {
            followers.iter().for_each(|(&item, &times)| scores[item as usize] += times as f32);
        }
    }
}

/// The mean over people, with its interval.
fn mean(values: &[f64], draws: &Draws) -> Figure {
    let mean = |rows: &mut dyn Iterator<Item = f64>, count: usize| rows.sum::<f64>() / count.max(1) as f64;
    Figure {
        value: mean(&mut values.iter().copied(), values.len()),
        interval: draws
            .interval(|rows, _| Some(mean(&mut rows.iter().map(|&row| values[row as usize]), rows.len()))),
    }
}

fn over(lists: &[List], draws: &Draws, figure: impl Fn(usize) -> f64) -> Figure {
    mean(&lists.iter().map(|list| figure(list.rank)).collect::<Vec<_>>(), draws)
}

fn figures(lists: &[List], people: &[Person], counts: &[u64], draws: &Draws) -> RetrievalFigures {
    let at = CUTOFFS.map(|cutoff| AtCutoff {
        cutoff,
        hit_rate: over(lists, draws, |rank| hit(rank, cutoff)),
        ndcg: over(lists, draws, |rank| ndcg(rank, cutoff)),
        mrr: over(lists, draws, |rank| reciprocal(rank, cutoff)),
    });
    let mut shown = vec![0_u64; counts.len()];
    lists.iter().flat_map(|list| &list.first).for_each(|&item| shown[item as usize] += 1);
    let places = shown.iter().sum::<u64>().max(1) as f64;
    let share = |item: usize| counts[item].max(1) as f64 / people.len() as f64;
    let over_places = |of: &dyn Fn(usize) -> f64| {
        shown.iter().enumerate().map(|(item, &times)| times as f64 * of(item)).sum::<f64>() / places
    };
    let wanted: Vec<f64> =
        people.iter().filter_map(|person| person.wanted).map(|item| share(item as usize)).collect();
    RetrievalFigures {
        at: at.into(),
        coverage: shown.iter().filter(|&&times| times > 0).count() as f64 / shown.len().max(1) as f64,
        novelty_bits: over_places(&|item| -share(item).log2()),
        popularity_lift: over_places(&share) / (wanted.iter().sum::<f64>() / wanted.len().max(1) as f64),
        gini: gini(&shown),
    }
}

/// People in groups of about the same size by `key`; those of one key stay together.
fn groups(lists: &[List], people: &[Person], key: impl Fn(&Person) -> u64, seed: u64) -> Vec<GroupFigures> {
    let mut order: Vec<(u64, usize)> =
        people.iter().enumerate().map(|(index, person)| (key(person), index)).collect();
    order.sort_unstable();
    let mut groups = Vec::new();
    let mut from = 0;
    for group in 1..=GROUPS {
        let mut until = (order.len() * group / GROUPS).max(from);
        while until > 0 && until < order.len() && order[until].0 == order[until - 1].0 {
            until += 1;
        }
        let Some(members) = order.get(from..until).filter(|members| !members.is_empty()) else { continue };
        let own: Vec<List> = members.iter().map(|&(_, index)| lists[index].clone()).collect();
        let draws = Draws::new(&(0..own.len() as u32).collect::<Vec<_>>(), DRAWS, seed);
        groups.push(GroupFigures {
            from: members[0].0,
            until: members[members.len() - 1].0,
            people: own.len(),
            hit_rate: over(&own, &draws, |rank| hit(rank, LIST)),
            ndcg: over(&own, &draws, |rank| ndcg(rank, LIST)),
        });
        from = until;
    }
    groups
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn person(history: &[u32], wanted: Option<u32>) -> Person {
        Person { history: history.to_vec(), wanted }
    }

    #[test]
    fn a_list_leaves_out_the_history_but_not_what_is_wanted_again() {
        let scores = [0.9, 0.1, 0.8, 0.7, 0.6];
        let found = list(&person(&[0, 2], Some(3)), &scores);
        assert_eq!((found.rank, &found.first[..3]), (0, &[3, 4, 1][..]));
        assert_eq!(list(&person(&[0, 2], Some(2)), &scores).rank, 0);
        assert_eq!(list(&person(&[0], None), &scores).rank, usize::MAX);
    }

    #[test]
    fn what_followed_the_latest_item_comes_first() {
        let people = [person(&[0, 1, 2, 1], Some(2)), person(&[2, 1, 2], Some(0)), person(&[3, 0], Some(1))];
        let counts = popularity(&people, 4);
        assert_eq!(counts, [2, 2, 2, 1]);
        let followers = followers(&people, &counts);
        let lists = lists_by(&people, 4, |person, scores| followers.score(person, scores));
        // Twice "2" followed "1", and once "1" followed "0"; "0" never followed "2".
        assert_eq!(lists.iter().map(|list| list.rank).collect::<Vec<_>>(), [0, 0, 0]);
    }

    #[test]
    fn figures_of_a_case_computed_by_hand() {
        let people = [person(&[0], Some(1)), person(&[0], None)];
        let counts = popularity(&people, 4);
        let lists = [List { rank: 1, first: vec![1, 2] }, List { rank: usize::MAX, first: vec![1, 3] }];
        let draws = Draws::new(&[0, 1], 20, 1);
        let found = figures(&lists, &people, &counts, &draws);
        let at_ten = found.at.iter().find(|at| at.cutoff == 10).unwrap();
        assert!((at_ten.hit_rate.value - 0.5).abs() < 1e-12);
        assert!((at_ten.ndcg.value - 0.5 / 3.0_f64.log2()).abs() < 1e-12);
        assert!((at_ten.mrr.value - 0.25).abs() < 1e-12);
        assert!((found.at[0].hit_rate.value).abs() < 1e-12, "at one nobody is right");
        assert!((found.coverage - 0.75).abs() < 1e-12);
        let interval = at_ten.hit_rate.interval.unwrap();
        assert!(interval.low < 0.5 && interval.high > 0.5);
    }

    proptest! {
        #[test]
        fn groups_hold_everyone_once_and_keep_alike_together(keys in prop::collection::vec(0_u64..9, 1..60)) {
            let people: Vec<Person> = keys.iter().map(|&key| person(&vec![0; key as usize], Some(0))).collect();
            let lists = vec![List { rank: 0, first: vec![0] }; people.len()];
            let groups = groups(&lists, &people, |person| person.history.len() as u64, 3);
            prop_assert_eq!(groups.iter().map(|group| group.people).sum::<usize>(), people.len());
            prop_assert!(groups.len() <= GROUPS);
            prop_assert!(groups.windows(2).all(|pair| pair[0].until < pair[1].from));
        }
    }
}
