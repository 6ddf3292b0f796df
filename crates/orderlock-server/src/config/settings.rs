//! Every setting, declared once: from this list come the flags, the variables, the members of the
//! file, the defaults and the help.

use clap::Args;
use serde::Deserialize;

use super::logging::{LogFormat, LogLevel};
use super::node::NodeName;
use super::origins::Origins;
use super::store::Store;
use super::values::{Bytes, Count, Flag, Listen, Span};

macro_rules! settings {
    ($($(#[doc = $help:literal])* $name:ident: $type:ty = $default:expr;)*) => {
        /// What an installation may choose.
        #[derive(Clone, Debug)]
        pub struct Settings { $($(#[doc = $help])* pub $name: $type),* }

        impl Default for Settings {
            fn default() -> Self {
                Self { $($name: $default),* }
            }
        }

        /// The settings that one source gives: the flags, the variables or the file.
        #[derive(Clone, Debug, Default, Args, Deserialize)]
        #[command(next_help_heading = "Settings")]
        #[serde(deny_unknown_fields)]
        pub struct Given {
            $(
                $(#[doc = $help])*
                // A value with a hyphen is refused in the value's own words.
                #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
                pub $name: Option<$type>,
            )*
        }

        impl Settings {
            /// The name of every setting, as it is written in the file.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// The value of every setting, in the order of [`NAMES`](Self::NAMES).
            #[must_use]
            pub fn values(&self) -> Vec<String> {
                vec![$(self.$name.to_string()),*]
            }

            /// Takes what a source gives, and calls `took` with each name that it gives.
            pub(super) fn take(&mut self, given: Given, mut took: impl FnMut(&'static str)) {
                $(if let Some(value) = given.$name {
                    self.$name = value;
                    took(stringify!($name));
                })*
            }
        }
    };
}

settings! {
    /// The address to listen on; a loopback address
    listen: Listen = Listen::default();
    /// Where the orders are kept: `sqlite:` and the path of a file, or a `postgres://` or `mongodb://` address
    store: Store = Store::default();
    /// How many connections to a shared store this node may hold
    store_connections: Count = Count(16);
    /// The node's lasting name, unlike that of any other node on the store; `auto` is the host and port
    node_name: NodeName = NodeName::default();
    /// How the log is written: `text` or `json`
    log_format: LogFormat = LogFormat::Text;
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or more of it by module
    log_level: LogLevel = LogLevel::default();
    /// Whether an order is confirmed only when its whole total is authorized or paid
    require_payment: Flag = Flag(false);
    /// The largest order that is kept, in bytes: edits stop at three quarters of it
    order_limit: Bytes = Bytes(262_144);
    /// How long an operation may run
    handler_limit: Span = Span::seconds(30);
    /// The longest wait in line that a client may ask for
    wait_limit: Span = Span::seconds(30);
    /// How many requests may stand in one order's line
    line_limit: Count = Count(1_024);
    /// How many requests may be in flight
    in_flight_limit: Count = Count(65_536);
    /// How long an answer of the store is waited for
    store_limit: Span = Span::seconds(5);
    /// How long the session lasts after each renewal
    session_length: Span = Span::seconds(10);
    /// How long answers are kept for retries
    answer_retention: Span = Span::seconds(24 * 3600);
    /// How long keys are known to have been used
    tombstone_retention: Span = Span::seconds(30 * 24 * 3600);
    /// The largest body that is taken, in bytes
    body_limit: Bytes = Bytes(1_048_576);
    /// How long the body of a request may take to arrive
    body_time_limit: Span = Span::seconds(10);
    /// How long the headers of a request may take to arrive
    header_time_limit: Span = Span::seconds(5);
    /// How long a connection is kept that has no request
    idle_time_limit: Span = Span::seconds(30);
    /// How long a client may take to read 64 KiB of its answer, or all of it
    answer_time_limit: Span = Span::seconds(10);
    /// How many connections may be open; fewer where the limit on open files is lower
    connection_limit: Count = Count(8_192);
    /// How many bytes may be in memory of bodies and answers that are larger than 16 KiB
    memory_limit: Bytes = Bytes(134_217_728);
    /// Origins of web pages that may change orders, with commas between them
    allowed_origins: Origins = Origins::default();
    /// How long a node that shuts down still serves, while readiness says that it does not
    shutdown_delay: Span = Span::seconds(0);
    /// How long a shutdown waits for running operations
    shutdown_limit: Span = Span::seconds(30);
}
