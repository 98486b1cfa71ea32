//! Group commit: calls that wait at the same time are run together, each lane taking its share of those that wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::drivers::{Error, Kind};

/// The most calls of one run: beyond that a failure costs more than sharing saves.
const MOST: usize = 64;

/// What is done with calls that are run together.
#[async_trait]
pub(super) trait Work: Send + Sync + 'static {
    /// What one call asks for.
    type Job: Send + Sync + 'static;

    /// Answers every call; one that is dropped unanswered fails.
    async fn run(&self, calls: Vec<Call<Self::Job>>);
}

/// One call that somebody waits for.
pub(super) struct Call<J> {
    /// What is asked for.
    pub job: J,
    done: oneshot::Sender<Result<(), Error>>,
}

impl<J> Call<J> {
    /// Answers it.
    pub(super) fn finish(self, result: Result<(), Error>) {
        // Whoever asked may have given up.
        let _ = self.done.send(result);
    }
}

/// The calls of one kind to one server.
pub(super) struct Batches<W: Work> {
    work: W,
    lanes: usize,
    state: Mutex<State<W::Job>>,
}

struct State<J> {
    waiting: VecDeque<Call<J>>,
    running: usize,
}

/// One of the lanes; it is free again when this is dropped, also by a panic.
struct Lane<W: Work>(Arc<Batches<W>>);

impl<W: Work> Drop for Lane<W> {
    fn drop(&mut self) {
        self.0.state().running -= 1;
    }
}

impl<W: Work> Batches<W> {
    /// At most `lanes` runs at a time.
    pub(super) fn new(work: W, lanes: usize) -> Arc<Self> {
        Arc::new(Self { work, lanes, state: Mutex::new(State { waiting: VecDeque::new(), running: 0 }) })
    }

    fn state(&self) -> MutexGuard<'_, State<W::Job>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one job, together with whatever else waits. It goes on when the caller gives up.
    ///
    /// # Errors
    /// What the work says.
    pub(super) async fn call(self: &Arc<Self>, job: W::Job) -> Result<(), Error> {
        let (done, answer) = oneshot::channel();
        let lane = {
            let mut state = self.state();
            state.waiting.push_back(Call { job, done });
            (state.running < self.lanes).then(|| {
                state.running += 1;
                Lane(self.clone())
            })
        };
        if let Some(lane) = lane {
            tokio::spawn(lane.run());
        }
        let interrupted = |error| Error::new(Kind::Timeout, "the call was interrupted").caused_by(error);
        answer.await.map_err(interrupted)?
    }
}

impl<W: Work> Lane<W> {
    async fn run(self) {
        loop {
            let calls = self.share();
            if calls.is_empty() {
                return;
            }
            self.0.work.run(calls).await;
        }
    }

    /// This lane's part of those that wait; calls that nobody waits for any more are left out.
    fn share(&self) -> Vec<Call<W::Job>> {
        let mut state = self.0.state();
        state.waiting.retain(|call| !call.done.is_closed());
        let count = state.waiting.len().div_ceil(self.0.lanes).min(MOST);
        state.waiting.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::sync::Semaphore;

    use super::*;

    /// Lets one run through per permit, and fails jobs that are odd.
    struct Slow {
        turns: Arc<Semaphore>,
        runs: AtomicUsize,
    }

    #[async_trait]
    impl Work for Slow {
        type Job = usize;

        async fn run(&self, calls: Vec<Call<usize>>) {
            self.turns.acquire().await.unwrap().forget();
            self.runs.fetch_add(1, Ordering::Relaxed);
            for call in calls {
                let odd = call.job % 2 == 1;
                call.finish(if odd { Err(Error::new(Kind::Statement, "odd")) } else { Ok(()) });
            }
        }
    }

    fn slow(lanes: usize, turns: usize) -> (Arc<Batches<Slow>>, Arc<Semaphore>) {
        let turns = Arc::new(Semaphore::new(turns));
        (Batches::new(Slow { turns: turns.clone(), runs: AtomicUsize::new(0) }, lanes), turns)
    }

    #[tokio::test]
    async fn those_that_wait_share_a_run_and_each_gets_its_own_answer() {
        let (batches, turns) = slow(1, 0);
        let call = |job| {
            let batches = batches.clone();
            async move { batches.call(job).await }
        };
        let first = tokio::spawn(call(0));
        while batches.state().running == 0 || !batches.state().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        turns.add_permits(2);
        let mut results = join_all((1..10).map(call)).await;
        results.insert(0, first.await.unwrap());
        assert_eq!(batches.work.runs.load(Ordering::Relaxed), 2, "the first alone, the others together");
        for (job, result) in results.into_iter().enumerate() {
            assert_eq!(result.is_err(), job % 2 == 1);
        }
        assert_eq!(batches.state().running, 0);
    }

    #[tokio::test]
    async fn a_call_that_was_given_up_before_its_turn_is_not_run() {
        let (batches, turns) = slow(1, 0);
        let first = tokio::spawn({
            let batches = batches.clone();
            async move { batches.call(0).await }
        });
        while batches.state().running == 0 || !batches.state().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        {
            let mut given_up = std::pin::pin!(batches.call(2));
            assert!(futures_util::poll!(&mut given_up).is_pending());
        }
        turns.add_permits(1);
        first.await.unwrap().unwrap();
        while batches.state().running > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(batches.work.runs.load(Ordering::Relaxed), 1);
    }
}
