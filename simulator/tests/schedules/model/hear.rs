//! What a node makes of its store's answers.

use super::properties::Promise;
use super::rules::Rule;
use super::sights::Sight;
use super::state::{Message, Stage, State};
use super::system::{Kind, System};
use super::watch::Answer;
use super::words::{Acquired, Release, Settle, Settled};

impl System {
    pub(super) fn hear(&self, state: &mut State, node: usize, answer: Answer) {
        match answer {
            Answer::Acquired(acquired) => self.hear_acquired(state, node, acquired),
            Answer::Released(next) => {
                let front = &mut state.nodes[node].front;
                match (front.as_mut().map(|run| &mut run.stage), next) {
                    (Some(Stage::Failed(waits)), next) => *waits = next,
                    (_, Some(acquired)) => self.hear_acquired(state, node, acquired),
                    (_, None) => {}
                }
            }
            Answer::Settled(_, Settled::Lost(_)) => self.hear_lost(state, node),
            Answer::Settled(request, Settled::Accepted(next)) => {
                self.hear_accepted(state, node, request, next);
            }
        }
    }

    /// The lease is lost. It is released all the same: it may have been granted once more.
    fn hear_lost(&self, state: &mut State, node: usize) {
        self.met(Sight::LostTold);
        if let Some(run) = state.nodes[node].front
            && !state.store.is_alive(run.request.session)
        {
            self.met(Sight::PausedThenLost);
        }
        let release = self.releasing(state, node, false);
        self.fail_front(state, node);
        if let Some(release) = release {
            let next = None;
            self.arrive(state, Message::Release(Release { next, ..release }));
        }
    }

    /// The run at the front hears what became of its question, or of the one that was asked for
    /// it. Answers leave the store when they are durable.
    pub(super) fn hear_acquired(&self, state: &mut State, node: usize, acquired: Acquired) {
        let waits = match acquired {
            Acquired::Granted { .. } => self.rules.keep(Rule::GrantsWait),
            _ => self.rules.keep(Rule::AnswersWait),
        };
        let dirty = state.is_dirty();
        let Some(run) = &mut state.nodes[node].front else {
            return;
        };
        if run.stage == Stage::Asks && waits && dirty {
            run.stage = Stage::Hears(acquired);
            return;
        }
        match acquired {
            Acquired::Granted { version, progress } => {
                self.begin(state, node, (version, progress), false);
            }
            Acquired::SessionEnded => run.stage = Stage::Asks,
            Acquired::Settled(entry) => {
                self.met(Sight::Replayed);
                state.nodes[node].end_front();
                state.tell(entry);
            }
            _ => state.nodes[node].end_front(),
        }
    }

    /// The handler of the run at the front begins.
    fn begin(&self, state: &mut State, node: usize, grant: (u16, bool), early: bool) {
        let (version, progress) = grant;
        let rests = state.store.written.journal.len();
        let stands = state.stands(rests);
        let Some(run) = &mut state.nodes[node].front else {
            return;
        };
        run.stage = Stage::Holds {
            version,
            step: 0,
            progress,
        };
        (run.rests, run.early) = (rests, early);
        if self.kind(run.request.key) == Kind::External {
            state.outside |= state.open.contains(&run.request.fence);
            if !stands {
                state.broken.insert(Promise::Ground);
            }
        }
    }

    /// A settle is accepted. The next in line begins, if it may begin before the flush.
    fn hear_accepted(
        &self,
        state: &mut State,
        node: usize,
        request: Settle,
        next: Option<Acquired>,
    ) {
        let pure = request
            .next
            .is_some_and(|next| self.kind(next.key) == Kind::Pure);
        // A repeat of what is durable may be followed by what is not.
        let first = !state.is_durable(request);
        let may_begin = first && pure || !self.rules.keep(Rule::OnlyPureBeginsEarly);
        let it = &mut state.nodes[node];
        let Some(run) = &mut it.front else { return };
        run.stage = Stage::Accepted(request, next);
        match next {
            Some(Acquired::Granted { version, progress })
                if may_begin && it.before.is_none() && it.behind.is_some() =>
            {
                run.stage = Stage::Accepted(request, None);
                it.before = it.front.take();
                it.front = it.behind.take();
                self.met(Sight::BegunEarly);
                self.begin(state, node, (version, progress), true);
            }
            _ if !self.rules.keep(Rule::AnswersWait) => self.tell_front(state, node),
            _ => {}
        }
    }

    /// The accepted settle of the run at the front is told, and the order handed on.
    pub(super) fn tell_front(&self, state: &mut State, node: usize) {
        let Some(run) = &mut state.nodes[node].front else {
            return;
        };
        let Stage::Accepted(request, next) = run.stage else {
            return;
        };
        if request.keeps {
            run.rests = state.store.written.journal.len();
            run.stage = Stage::Holds {
                version: request.version + u16::from(request.changes),
                step: request.step + 1,
                progress: false,
            };
            return;
        }
        self.tell(state, request);
        state.nodes[node].end_front();
        if let Some(acquired) = next {
            self.met(Sight::HandedOver);
            self.hear_acquired(state, node, acquired);
        }
    }

    /// A client is told the answer that this settle has stored.
    pub(super) fn tell(&self, state: &mut State, request: Settle) {
        let by = Some((request.fence, request.step));
        let mut journal = state.store.written.journal.iter();
        match journal.find(|entry| entry.by == by && entry.last).copied() {
            Some(entry) => state.tell(entry),
            None => {
                state.broken.insert(Promise::ToldIsDurable);
            }
        }
    }

    /// Says that the run at the front has changed nothing, at once or when its ground is durable.
    pub(super) fn fail_front(&self, state: &mut State, node: usize) {
        let it = &mut state.nodes[node];
        match &mut it.front {
            Some(run) if run.early && self.rules.keep(Rule::FailuresWait) => {
                run.stage = Stage::Failed(None);
            }
            Some(run) => {
                let run = *run;
                it.end_front();
                state.disown(run);
            }
            None => {}
        }
    }
}
