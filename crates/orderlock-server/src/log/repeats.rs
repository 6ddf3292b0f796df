//! Warnings that repeat themselves: a disk that is full would have three of them written for each
//! request, to a disk that may be the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// After this time a warning counts anew.
pub(super) const PERIOD: Duration = Duration::from_secs(10);

/// How often one warning, at one place in the code, is logged in that time.
const REPEATS_MAX: u64 = 20;

/// Leaves out what repeats itself, and counts it. There is one count for each place in the code
/// that warns, and there are only so many of those.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<HashMap<Identifier, Count>>);

#[derive(Debug)]
struct Count {
    begun: Instant,
    seen: u64,
    message: String,
}

impl Repeats {
    /// Whether another line of this kind is logged now.
    fn admits(&self, event: &Event<'_>, now: Instant) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts
            .entry(event.metadata().callsite())
            .or_insert_with(|| Count {
                begun: now,
                seen: 0,
                message: message(event),
            });
        count.seen += 1;
        count.seen <= REPEATS_MAX
    }

    /// Whether anything is counted now.
    pub(super) fn is_counting(&self) -> bool {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        !counts.is_empty()
    }

    /// Tells what was left out in the periods that have ended.
    pub(super) fn tell(&self) {
        for (message, lines) in self.ended(Instant::now()) {
            tracing::info!(
                lines,
                like = message,
                "more lines of one kind were left out"
            );
        }
    }

    fn ended(&self, now: Instant) -> Vec<(String, u64)> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .extract_if(|_, count| now.saturating_duration_since(count.begun) >= PERIOD)
            .filter(|(_, count)| count.seen > REPEATS_MAX)
            .map(|(_, count)| (count.message, count.seen - REPEATS_MAX))
            .collect()
    }
}

/// The layer that counts.
#[derive(Debug)]
pub(super) struct Counted(pub(super) Arc<Repeats>);

impl<S: Subscriber> Layer<S> for Counted {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        *event.metadata().level() > Level::WARN || self.0.admits(event, Instant::now())
    }
}

/// What the event says, without its fields.
fn message(event: &Event<'_>) -> String {
    struct Message(String);
    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}");
            }
        }
    }
    let mut message = Message(String::new());
    event.record(&mut message);
    message.0
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::registry;

    use super::*;

    /// Counts what is logged.
    struct Logged(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Logged {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_repeats_itself_is_left_out_and_counted() {
        let (repeats, logged) = (Arc::new(Repeats::default()), Arc::new(AtomicUsize::new(0)));
        let log = registry()
            .with(Logged(Arc::clone(&logged)))
            .with(Counted(Arc::clone(&repeats)));
        tracing::subscriber::with_default(log, || {
            for number in 0..1_000_u64 {
                tracing::warn!(number, "the disk is full");
                tracing::info!("answered");
            }
            tracing::error!("another");
        });
        let most = usize::try_from(REPEATS_MAX).unwrap();
        assert_eq!(logged.load(Ordering::Relaxed), most + 1_000 + 1);
        let now = Instant::now();
        assert_eq!(repeats.ended(now), []);
        let left_out = [("the disk is full".to_owned(), 1_000 - REPEATS_MAX)];
        assert_eq!(repeats.ended(now + PERIOD), left_out);
        assert!(!repeats.is_counting());
    }
}
