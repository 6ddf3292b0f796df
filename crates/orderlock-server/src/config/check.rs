//! Checks that involve several settings, and the limits that follow from the settings.

use std::time::Duration;

use orderlock::{Limits, Retention};
use orderlock_orders::ProcessConfig;
use orderlock_orders::bounds::{ORDER_BYTES_LEAST, ORDER_BYTES_MOST};

use super::{ConfigError, Settings, Span};

/// From a millisecond, since nothing can be done in no time.
const LEAST: Duration = Duration::from_millis(1);
/// A page of orders, and one of history, find room.
const MEMORY_LEAST: usize = 4 * 1024 * 1024;
const HOUR: Duration = Duration::from_secs(3600);

impl Settings {
    /// Refuses settings that do not fit each other, or that would bound nothing.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !self.listen.0.ip().is_loopback() {
            return Err(ConfigError::new(format!(
                "Orderlock has no authentication yet, so it listens only on loopback addresses. {} \
                 is not one: anyone who can reach it could change every order. Use 127.0.0.1, and \
                 put a proxy in front that authenticates clients.",
                self.listen.0
            )));
        }
        self.check_counts()?;
        self.check_spans()?;
        let least = MEMORY_LEAST.max(self.body_limit.0);
        if self.memory_limit.0 < least {
            return Err(ConfigError::new(format!(
                "`memory_limit` is {}; it must be at least {least}, so that the largest body and \
                 a whole page have room.",
                self.memory_limit
            )));
        }
        if self.tombstone_retention.0 < self.answer_retention.0 {
            return Err(ConfigError::new(
                "`tombstone_retention` must be at least as long as `answer_retention`: a key \
                 that is forgotten before its answer could be used twice.",
            ));
        }
        Ok(())
    }

    /// Each bounds memory, so that it must be a bound.
    fn check_counts(&self) -> Result<(), ConfigError> {
        let counts = [
            ("line_limit", self.line_limit.0, 1, 65_536),
            ("in_flight_limit", self.in_flight_limit.0, 1, 1_048_576),
            ("body_limit", self.body_limit.0, 1, 64 * 1024 * 1024),
            // Below the least, an order could be too full for what ends it.
            (
                "order_limit",
                self.order_limit.0,
                ORDER_BYTES_LEAST,
                ORDER_BYTES_MOST,
            ),
            ("connection_limit", self.connection_limit.0, 1, 65_536),
            ("store_connections", self.store_connections.0, 1, 1_000),
            (
                "memory_limit",
                self.memory_limit.0,
                1,
                1024 * 1024 * 1024 * 1024,
            ),
        ];
        match counts
            .iter()
            .find(|(_, count, least, most)| !(*least..=*most).contains(count))
        {
            None => Ok(()),
            Some((name, count, least, most)) => Err(ConfigError::new(format!(
                "`{name}` is {count}; it must be from {least} to {most}."
            ))),
        }
    }

    /// Each bounds a wait. A session also sets the pace of what is done in turns: lapsed sessions
    /// and expired answers are ended three times in its length.
    fn check_spans(&self) -> Result<(), ConfigError> {
        let century = Duration::from_secs(100 * 366 * 24 * 3600);
        let spans = [
            ("handler_limit", self.handler_limit, LEAST, 24 * HOUR),
            ("wait_limit", self.wait_limit, Duration::ZERO, HOUR),
            ("store_limit", self.store_limit, LEAST, HOUR / 6),
            (
                "session_length",
                self.session_length,
                Duration::from_secs(1),
                HOUR / 6,
            ),
            ("answer_retention", self.answer_retention, LEAST, century),
            ("body_time_limit", self.body_time_limit, LEAST, HOUR),
            ("header_time_limit", self.header_time_limit, LEAST, HOUR),
            ("idle_time_limit", self.idle_time_limit, LEAST, HOUR),
            ("answer_time_limit", self.answer_time_limit, LEAST, HOUR),
            ("shutdown_delay", self.shutdown_delay, Duration::ZERO, HOUR),
            ("shutdown_limit", self.shutdown_limit, Duration::ZERO, HOUR),
        ];
        match spans
            .iter()
            .find(|(_, span, least, most)| !(*least..=*most).contains(&span.0))
        {
            None => Ok(()),
            Some((name, span, least, most)) => Err(ConfigError::new(format!(
                "`{name}` is {span}; it must be from {} to {}.",
                Span(*least),
                Span(*most)
            ))),
        }
    }

    /// The bounds of the lifecycle.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            handler: self.handler_limit.0,
            wait: self.wait_limit.0,
            line: self.line_limit.0,
            in_flight: self.in_flight_limit.0,
            store: self.store_limit.0,
            session: self.session_length.0,
            retention: Retention {
                answer: self.answer_retention.0,
                tombstone: self.tombstone_retention.0,
            },
            ..Limits::default()
        }
    }

    /// The choices about the order process.
    #[must_use]
    pub fn process(&self) -> ProcessConfig {
        ProcessConfig {
            confirm_needs_payment: self.require_payment.0,
            order_bytes_max: self.order_limit.0,
        }
    }
}
