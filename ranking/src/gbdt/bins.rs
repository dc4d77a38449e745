//! Values to bins: columns of numbers enter, a byte for each value leaves.

use rayon::prelude::*;

/// Bins of values; one more holds what is missing.
const BINS: usize = 254;
/// Rows that a column's edges are learnt from.
const EDGE_ROWS: usize = 200_000;

/// Rows of features, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Table {
    features: usize,
    values: Vec<f32>,
}

impl Table {
    /// A table without rows.
    pub fn new(features: usize) -> Self {
        Self { features, values: Vec::new() }
    }

    /// Adds a row; a value that is not finite is missing.
    pub fn push(&mut self, row: &[f32]) {
        debug_assert_eq!(row.len(), self.features);
        self.values.extend(row.iter().map(|&value| if value.is_finite() { value } else { f32::NAN }));
    }

    pub fn features(&self) -> usize {
        self.features
    }

    pub fn rows(&self) -> usize {
        self.values.len().checked_div(self.features).unwrap_or(0)
    }

    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.features..(row + 1) * self.features]
    }

    /// The table of some rows, in their order.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|&row| self.row(row).iter().copied()).collect();
        Self { features: self.features, values }
    }
}

/// A table whose values are bin numbers, a column after the other. The last bin of each column
/// holds what is missing.
pub(super) struct Binned {
    pub(super) columns: Vec<Column>,
}

pub(super) struct Column {
    /// Upper ends of all bins of values but the last, ascending.
    pub(super) edges: Vec<f32>,
    pub(super) codes: Vec<u8>,
}

impl Column {
    /// Bins, that of the missing values among them.
    pub(super) fn bins(&self) -> usize {
        self.edges.len() + 2
    }
}

impl Binned {
    pub(super) fn new(table: &Table) -> Self {
        let columns = (0..table.features()).into_par_iter().map(|feature| {
            let value = |row: usize| table.row(row)[feature];
            let stride = table.rows().div_ceil(EDGE_ROWS).max(1);
            let mut sorted: Vec<f32> =
                (0..table.rows()).step_by(stride).map(value).filter(|value| !value.is_nan()).collect();
            sorted.sort_unstable_by(f32::total_cmp);
            let edges = edges(&sorted);
            let missing = edges.len() as u8 + 1;
            let code = |value: f32| {
                if value.is_nan() { missing } else { edges.partition_point(|&edge| edge < value) as u8 }
            };
            let codes = (0..table.rows()).map(|row| code(value(row))).collect();
            Column { edges, codes }
        });
        Self { columns: columns.collect() }
    }
}

/// Each distinct value its bin where they are few; bins of like counts where they are many.
fn edges(sorted: &[f32]) -> Vec<f32> {
    let mut distinct = sorted.to_vec();
    distinct.dedup();
    let largest = distinct.last().copied();
    if distinct.len() > BINS {
        distinct = (1..BINS).map(|bin| sorted[bin * sorted.len() / BINS]).collect();
        distinct.dedup();
    }
    distinct.retain(|&edge| Some(edge) != largest);
    distinct
}
