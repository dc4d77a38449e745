//! How well and how fast the indexes find: vectors and queries enter, recall and times leave.

use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;
use std::{fs, hint::black_box};

use kinora_harness::publish::FileError;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{ExactIndex, GraphIndex, VectorIndex};
use crate::error::{RankingError, Result};

/// Groups that drawn vectors lie in, as learnt ones do.
const CENTRES: usize = 10_000;
/// Distance of a vector from its centre, beside a centre's from the others.
const SPREAD: f32 = 0.6;

/// Rows of vectors, end to end.
#[derive(Clone, Debug)]
pub struct Vectors {
    pub width: usize,
    pub values: Vec<f32>,
}

/// What was measured, one search after another on one core.
#[derive(Clone, Debug, Serialize)]
pub struct IndexReport {
    pub items: usize,
    pub width: usize,
    pub count: usize,
    /// Building the graph on so many threads.
    pub build_s: f64,
    pub build_threads: usize,
    pub methods: Vec<MethodReport>,
}

#[derive(Clone, Debug, Serialize)]
pub struct MethodReport {
    pub method: &'static str,
    /// Share of the true nearest that was found.
    pub recall: f64,
    pub queries_per_s: f64,
    pub median_ms: f64,
    pub p99_ms: f64,
}

impl Vectors {
    /// Draws `items` and `queries` unit vectors around the same centres.
    pub fn draw(items: usize, queries: usize, width: usize, seed: u64) -> (Self, Self) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let normal = |rng: &mut ChaCha8Rng| (0..4).map(|_| rng.random_range(-0.866..0.866_f32)).sum::<f32>();
        let centres: Vec<f32> = (0..CENTRES * width).map(|_| normal(&mut rng)).collect();
        let mut draw = |count: usize| {
            let mut values = Vec::with_capacity(count * width);
            for _ in 0..count {
                let centre = rng.random_range(0..CENTRES) * width;
                let vector: Vec<f32> =
                    centres[centre..centre + width].iter().map(|at| at + SPREAD * normal(&mut rng)).collect();
                let length =
                    vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
                values.extend(vector.iter().map(|value| value / length));
            }
            Self { width, values }
        };
        (draw(items), draw(queries))
    }

    /// Reads little-endian 32-bit floats, row after row.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or whose length is not of whole rows.
    pub fn read(path: &Path, width: usize) -> Result<Self> {
        let bytes = fs::read(path).map_err(FileError::at("read", path))?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        if width == 0 || !rest.is_empty() || numbers.is_empty() || numbers.len() % width != 0 {
            let reason = format!("its {} bytes are not rows of {width} 32-bit floats", bytes.len());
            return Err(RankingError::table(path, reason));
        }
        Ok(Self { width, values: numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect() })
    }

    fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }
}

/// Measures both indexes over `items`.
///
/// # Errors
///
/// Vectors that an index refuses.
pub fn benchmark(items: &Vectors, queries: &Vectors, count: usize) -> Result<IndexReport> {
    let started = Instant::now();
    let graph = GraphIndex::build(&items.values, items.width)?;
    let build_s = started.elapsed().as_secs_f64();
    let mut exact = ExactIndex::new(items.width);
    for (item, vector) in (0..).zip(items.rows()) {
        exact.insert(item, vector)?;
    }
    let (truth, exact_ms) = search(&exact, queries, count)?;
    let (found, graph_ms) = search(&graph, queries, count)?;
    let is_parallel = exact.len() >= super::graph::ALL_CORES_FROM;
    Ok(IndexReport {
        items: exact.len(),
        width: items.width,
        count,
        build_s,
        build_threads: if is_parallel { rayon::current_num_threads() } else { 1 },
        methods: vec![
            MethodReport::of("graph", recall(&found, &truth), graph_ms),
            MethodReport::of("exact", 1.0, exact_ms),
        ],
    })
}

/// Items found for each query, and the milliseconds of each search.
fn search(index: &dyn VectorIndex, queries: &Vectors, count: usize) -> Result<(Vec<Vec<u32>>, Vec<f64>)> {
    let (mut found, mut times_ms) = (Vec::new(), Vec::new());
    for query in queries.rows() {
        let started = Instant::now();
        let neighbours = black_box(index.search(query, count, &HashSet::new())?);
        times_ms.push(started.elapsed().as_secs_f64() * 1e3);
        found.push(neighbours.into_iter().map(|neighbour| neighbour.item).collect());
    }
    Ok((found, times_ms))
}

fn recall(found: &[Vec<u32>], truth: &[Vec<u32>]) -> f64 {
    let hits: usize = found
        .iter()
        .zip(truth)
        .map(|(found, truth)| found.iter().filter(|item| truth.contains(item)).count())
        .sum();
    hits as f64 / truth.iter().map(Vec::len).sum::<usize>().max(1) as f64
}

impl MethodReport {
    fn of(method: &'static str, recall: f64, mut times_ms: Vec<f64>) -> Self {
        times_ms.sort_by(f64::total_cmp);
        let at = |share: f64| times_ms.get((share * times_ms.len() as f64) as usize).copied().unwrap_or(0.0);
        let queries_per_s = 1e3 * times_ms.len() as f64 / times_ms.iter().sum::<f64>();
        Self { method, recall, queries_per_s, median_ms: at(0.5), p99_ms: at(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_graph_is_held_against_every_item_and_a_file_of_odd_rows_is_refused() {
        let (items, queries) = Vectors::draw(2_000, 20, 16, 3);
        let report = benchmark(&items, &queries, 10).unwrap();
        assert_eq!((report.items, report.methods[1].recall), (2_000, 1.0));
        assert!(report.methods[0].recall > 0.95, "{report:?}");

        let file = tempfile::NamedTempFile::new().unwrap();
        let bytes: Vec<u8> = items.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        fs::write(file.path(), &bytes).unwrap();
        assert_eq!(Vectors::read(file.path(), 16).unwrap().values, items.values);
        for (length, width) in [(bytes.len() - 1, 16), (bytes.len() - 4, 16), (0, 16), (bytes.len(), 0)] {
            fs::write(file.path(), &bytes[..length]).unwrap();
            assert!(!Vectors::read(file.path(), width).unwrap_err().to_string().contains('\n'));
        }
    }
}
