//! The state of one connection: whether it is idle or has a request, and whether its client reads.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How many bytes of an answer must leave within the time limit, if not the rest of it: a client
/// that reads a byte now and then holds an answer as well as one that reads none.
pub(super) const PROGRESS: usize = 64 * 1024;

/// A connection, as those see it who look after all of them.
#[derive(Debug)]
pub(crate) struct Link {
    state: Mutex<State>,
    /// Woken when the connection is asked to end.
    signal: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Since when it is in this phase.
    since: Instant,
    /// The client does not read: since when, and how much has left in the meantime.
    stalled: Option<(Instant, usize)>,
    /// A request was answered before its body had come.
    unread: bool,
    cut: bool,
    closing: bool,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The first request.
    Greeting,
    /// For a place among those that may ask.
    Queue,
    /// For another request, of which nothing has come.
    Idle,
    /// For the rest of a request's head.
    Head,
    /// For the rest of a request's body.
    Body,
    /// This service, which works on a request.
    Work,
    /// For its answer to leave.
    Answer,
}

/// How long a connection may wait for its client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// For the first head, and for each from its first byte; and for a place before that.
    pub(crate) head: Duration,
    /// The time limit between two requests.
    pub(crate) idle: Duration,
    /// For the client to read [`PROGRESS`] bytes of an answer, or all of it.
    pub(crate) answer: Duration,
}

impl Link {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Greeting,
                since: now,
                stalled: None,
                unread: false,
                cut: false,
                closing: false,
            }),
            signal: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the client have come.
    pub(super) fn heard(&self, now: Instant) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            state.enter(Phase::Head, now);
        }
    }

    /// A request has come, perhaps without its body.
    pub(super) fn asked(&self, now: Instant, whole: bool) {
        let phase = if whole { Phase::Work } else { Phase::Body };
        self.state().enter(phase, now);
    }

    /// The request's body has come.
    pub(crate) fn received(&self, now: Instant) {
        let mut state = self.state();
        if state.phase == Phase::Body {
            state.enter(Phase::Work, now);
        }
    }

    /// The request is answered, although its body has not been read to its end.
    pub(crate) fn left_unread(&self) {
        self.state().unread = true;
    }

    /// The whole answer was taken from this service.
    pub(super) fn answered(&self, now: Instant) {
        self.state().enter(Phase::Answer, now);
    }

    /// So many bytes of an answer have left.
    pub(super) fn left(&self, bytes: usize) {
        if let Some((_, progress)) = &mut self.state().stalled {
            *progress = progress.saturating_add(bytes);
        }
    }

    /// The client has not read what was sent, and no more of it can leave.
    pub(super) fn stalls(&self, now: Instant) {
        self.state().stalled.get_or_insert((now, 0));
    }

    /// Everything has left that there was.
    pub(super) fn flushed(&self, now: Instant) {
        let mut state = self.state();
        state.stalled = None;
        if state.phase == Phase::Answer {
            state.enter(Phase::Idle, now);
        }
    }

    /// Its first bytes have come, and it needs a place.
    pub(super) fn queues(&self, now: Instant) {
        self.state().enter(Phase::Queue, now);
    }

    /// Its first request may be read: it has a place, or is to hear that there is none.
    pub(super) fn admitted(&self, now: Instant) {
        self.state().enter(Phase::Greeting, now);
    }

    /// The rest of the request is read, so that the client reads the answer.
    pub(super) fn lingers(&self, now: Instant) {
        self.state().enter(Phase::Head, now);
    }

    /// Closes the connection at once.
    pub(super) fn cut(&self) {
        self.state().cut = true;
        self.signal.notify_one();
    }

    /// Ends it with the answer that it waits for, if it waits for one.
    pub(super) fn close(&self) {
        self.state().closing = true;
        self.signal.notify_one();
    }

    /// Resolves when the connection is asked to end.
    pub(super) async fn signalled(&self) {
        self.signal.notified().await;
    }

    /// Resolves when it must end at once.
    pub(super) async fn ended(&self) {
        while !self.must_end() {
            self.signalled().await;
        }
    }

    /// Whether it ends at once: nothing is lost with it but what its client has not said yet.
    pub(super) fn must_end(&self) -> bool {
        let state = self.state();
        let waits = state.rests()
            || matches!(state.phase, Phase::Queue | Phase::Body)
            || state.stalled.is_some();
        // A request that came in the meantime is answered first.
        (state.cut && waits) || (state.closing && state.rests())
    }

    /// Whether its client waits for more than was sent, or does not know yet why it ended.
    pub(super) fn is_unread(&self) -> bool {
        let state = self.state();
        state.unread && !state.cut
    }

    /// Whether its client does not read.
    pub(super) fn is_stalled(&self) -> bool {
        self.state().stalled.is_some()
    }

    /// How soon it makes room for another, the least first: those that rest, those whose request
    /// has not come, those whose client does not read, and last those that have a request and no
    /// place; the longest first. None that this service is at work for ever does.
    pub(super) fn rank(&self) -> Option<(u8, Instant)> {
        let state = self.state();
        let rank = match (state.phase, state.stalled) {
            (Phase::Greeting | Phase::Idle | Phase::Head, _) => (0, state.since),
            (Phase::Body, _) => (1, state.since),
            (_, Some((since, _))) => (2, since),
            (Phase::Queue, _) => (3, state.since),
            (Phase::Work | Phase::Answer, None) => return None,
        };
        (!state.cut).then_some(rank)
    }

    /// Cuts it if it has waited for its client for too long.
    pub(super) fn look(&self, now: Instant, timeouts: &Timeouts) {
        if self.state().is_overdue(now, timeouts) {
            self.cut();
        }
    }
}

impl State {
    fn enter(&mut self, phase: Phase, now: Instant) {
        (self.phase, self.since) = (phase, now);
    }

    fn rests(&self) -> bool {
        matches!(self.phase, Phase::Greeting | Phase::Idle | Phase::Head)
    }

    fn is_overdue(&mut self, now: Instant, timeouts: &Timeouts) -> bool {
        let passed = |since: Instant, limit| now.saturating_duration_since(since) >= limit;
        if let Some((since, progress)) = self.stalled
            && passed(since, timeouts.answer)
        {
            self.stalled = Some((now, 0));
            return progress < PROGRESS;
        }
        match self.phase {
            Phase::Greeting | Phase::Head => passed(self.since, timeouts.head),
            Phase::Idle => passed(self.since, timeouts.idle),
            // These have limits of their own: those of places, bodies, operations and answers.
            Phase::Queue | Phase::Body | Phase::Work | Phase::Answer => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_secs(5),
        idle: Duration::from_secs(30),
        answer: Duration::from_secs(10),
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn is_cut(link: &Link, at: Instant) -> bool {
        link.look(at, &TIMEOUTS);
        link.must_end()
    }

    #[test]
    fn a_head_has_less_time_than_a_pause() {
        let start = Instant::now();
        let link = Link::new(start);
        // What trickles in does not give a head more time.
        link.heard(start + seconds(4));
        assert!(!is_cut(&link, start + seconds(4)));
        assert!(is_cut(&link, start + seconds(5)));

        let link = Link::new(start);
        link.asked(start, true);
        assert!(!is_cut(&link, start + seconds(3600)), "it works");
        link.answered(start);
        link.flushed(start);
        assert!(!is_cut(&link, start + seconds(29)));
        link.heard(start + seconds(29));
        link.heard(start + seconds(33));
        assert!(!is_cut(&link, start + seconds(33)));
        assert!(is_cut(&link, start + seconds(34)));
    }

    #[test]
    fn an_answer_must_make_progress() {
        let start = Instant::now();
        let link = Link::new(start);
        link.asked(start, true);
        link.answered(start);
        link.stalls(start);
        link.left(PROGRESS);
        link.stalls(start + seconds(9));
        assert!(!is_cut(&link, start + seconds(10)));
        link.left(PROGRESS - 1);
        assert!(!is_cut(&link, start + seconds(19)));
        assert!(is_cut(&link, start + seconds(20)));

        let link = Link::new(start);
        link.asked(start, true);
        link.answered(start);
        link.stalls(start);
        link.flushed(start + seconds(9));
        assert!(!is_cut(&link, start + seconds(20)), "all of it has left");
    }

    #[test]
    fn whoever_waits_for_its_client_makes_room_and_whoever_works_does_not() {
        let now = Instant::now();
        let links = [(); 5].map(|()| Link::new(now));
        let [rests, sends, reads_not, queues, works] = &links;
        sends.asked(now, false);
        reads_not.asked(now, true);
        reads_not.answered(now);
        reads_not.stalls(now);
        queues.queues(now);
        works.asked(now, true);
        let ranks = [rests, sends, reads_not, queues].map(|link| link.rank().unwrap());
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
        assert_eq!(works.rank(), None);
        for link in &links {
            link.cut();
        }
        let ended = [rests, sends, reads_not, queues, works].map(Link::must_end);
        assert_eq!(ended, [true, true, true, true, false]);
    }

    #[test]
    fn a_request_that_comes_at_the_last_moment_is_answered() {
        let now = Instant::now();
        let link = Link::new(now);
        link.cut();
        link.asked(now, true);
        assert!(!link.must_end());
        link.answered(now);
        link.flushed(now);
        assert!(link.must_end());
    }

    #[test]
    fn at_a_shutdown_only_a_request_that_has_come_is_waited_for() {
        let now = Instant::now();
        let (idle, asked) = (Link::new(now), Link::new(now));
        asked.asked(now, true);
        for link in [&idle, &asked] {
            link.close();
        }
        assert!(idle.must_end() && !asked.must_end());
        asked.answered(now);
        assert!(!asked.must_end());
        asked.flushed(now);
        assert!(asked.must_end());
    }
}
