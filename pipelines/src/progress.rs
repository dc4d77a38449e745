//! How far a long operation is: what it reports to whoever shows it. Library code never prints.

/// One report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is being done, in a few words: `reading histories`.
    pub stage: &'static str,
    /// Rows done in this stage.
    pub done: u64,
    /// Rows in this stage, where known.
    pub total: Option<u64>,
}

/// Receives reports; may be called often, so it should be cheap.
pub type OnProgress<'a> = &'a mut (dyn FnMut(Progress) + Send);

/// For callers that show nothing.
pub fn silent() -> impl FnMut(Progress) + Send {
    |_| {}
}
