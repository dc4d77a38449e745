//! Questions that were planned and not yet answered, by the handle that a client was given.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use datafusion::common::ParamValues;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use super::session::Asker;

/// How long a question that nobody asks for again is kept.
const KEPT: Duration = Duration::from_mins(10);
/// Most questions kept for one asker: a client that forgets to close its statements stops itself, not others.
const KEPT_MAX: usize = 500;

/// A planned question.
#[derive(Clone)]
pub(super) struct Question {
    pub(super) asker: Asker,
    pub(super) context: Arc<SessionContext>,
    pub(super) plan: LogicalPlan,
    pub(super) parameters: Option<ParamValues>,
    /// Prepared: answered as often as it is asked for, with the parameters bound last.
    pub(super) is_prepared: bool,
    /// Ends the answer.
    pub(super) stop: CancellationToken,
}

struct Kept {
    question: Question,
    used: Instant,
    /// An answer is on its way: the question stays for as long as that takes.
    answers: usize,
}

/// All questions that are open.
#[derive(Clone, Default)]
pub(super) struct Questions(Arc<Mutex<HashMap<String, Kept>>>);

/// An answer on its way; dropped, its question is no longer held.
pub(super) struct Answering {
    questions: Questions,
    handle: String,
}

impl Questions {
    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a question; the handle by which it is asked for.
    pub(super) fn keep(&self, question: Question) -> Result<String, Status> {
        let now = Instant::now();
        let mut kept = self.locked();
        kept.retain(|_, kept| kept.answers > 0 || now.duration_since(kept.used) < KEPT);
        if kept.values().filter(|kept| kept.question.asker == question.asker).count() >= KEPT_MAX {
            let problem = format!("{KEPT_MAX} statements are open: close some, or fetch their answers");
            return Err(Status::resource_exhausted(problem));
        }
        let handle = Uuid::new_v4().to_string();
        kept.insert(handle.clone(), Kept { question, used: now, answers: 0 });
        Ok(handle)
    }

    /// The question with this handle, where it is this asker's.
    pub(super) fn get(&self, handle: &str, asker: &Asker) -> Result<Question, Status> {
        self.change(handle, asker, |kept| kept.question.clone())
    }

    /// Binds the parameters of a prepared question.
    pub(super) fn bind(&self, handle: &str, asker: &Asker, bound: ParamValues) -> Result<(), Status> {
        self.change(handle, asker, |kept| kept.question.parameters = Some(bound))
    }

    /// Takes a question to be answered; one that was not prepared is answered once.
    pub(super) fn answer(&self, handle: &str, asker: &Asker) -> Result<(Question, Answering), Status> {
        let question = self.change(handle, asker, |kept| {
            if kept.answers > 0 && !kept.question.is_prepared {
                return Err(unknown());
            }
            kept.answers += 1;
            if kept.question.stop.is_cancelled() && kept.question.is_prepared {
                kept.question.stop = CancellationToken::new();
            }
            Ok(kept.question.clone())
        })??;
        Ok((question, Answering { questions: self.clone(), handle: handle.to_owned() }))
    }

    /// Ends the answers to a question.
    pub(super) fn cancel(&self, handle: &str, asker: &Asker) -> Result<(), Status> {
        self.change(handle, asker, |kept| kept.question.stop.cancel())
    }

    /// Forgets a question and ends its answers.
    pub(super) fn close(&self, handle: &str, asker: &Asker) -> Result<(), Status> {
        self.cancel(handle, asker)?;
        self.locked().remove(handle);
        Ok(())
    }

    fn change<T>(&self, handle: &str, asker: &Asker, how: impl FnOnce(&mut Kept) -> T) -> Result<T, Status> {
        let mut all = self.locked();
        let kept = all.get_mut(handle).filter(|kept| kept.question.asker == *asker).ok_or_else(unknown)?;
        kept.used = Instant::now();
        Ok(how(kept))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let mut all = self.questions.locked();
        let Some(kept) = all.get_mut(&self.handle) else { return };
        kept.answers -= 1;
        if !kept.question.is_prepared {
            all.remove(&self.handle);
        }
    }
}

fn unknown() -> Status {
    Status::not_found("there is no such statement: it was closed, answered already, or is too old")
}
