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
    /// The store of the orders: `sqlite:` and a file, or a `postgres://` or `mongodb://` address
    store: Store = Store::default();
    /// How many connections to a shared store this node may hold
    store_connections: Count = Count(16);
    /// The node's name, unique on the store and the same after a restart; `auto` is host and port
    node_name: NodeName = NodeName::default();
    /// The format of the log: `text` or `json`
    log_format: LogFormat = LogFormat::Text;
    /// The level of the log: `error`, `warn`, `info`, `debug` or `trace`, optionally with levels
    /// for modules
    log_level: LogLevel = LogLevel::default();
    /// Whether an order is confirmed only when its whole total is authorized or paid
    require_payment: Flag = Flag(false);
    /// The largest order, in bytes of JSON; edits may fill three quarters of it
    order_limit: Bytes = Bytes(262_144);
    /// How long an operation may run
    handler_limit: Span = Span::seconds(30);
    /// The longest wait in line, for requests with `Prefer: wait`
    wait_limit: Span = Span::seconds(30);
    /// How many requests may wait in one order's line
    line_limit: Count = Count(1_024);
    /// How many requests may wait or run on this node
    in_flight_limit: Count = Count(65_536);
    /// How long the store may take to answer
    store_limit: Span = Span::seconds(5);
    /// How long the node's session lasts after each renewal: a dead node's locks end with it
    session_length: Span = Span::seconds(10);
    /// How long stored answers are kept for retries
    answer_retention: Span = Span::seconds(24 * 3600);
    /// How long a key is remembered as used, from its answer on
    tombstone_retention: Span = Span::seconds(30 * 24 * 3600);
    /// The largest body of a request, in bytes
    body_limit: Bytes = Bytes(1_048_576);
    /// How long the body of a request may take to arrive
    body_time_limit: Span = Span::seconds(10);
    /// How long the headers of a request may take to arrive
    header_time_limit: Span = Span::seconds(5);
    /// How long a connection without a request stays open
    idle_time_limit: Span = Span::seconds(30);
    /// How long a client may take to read 64 KiB of its answer, or all of it
    answer_time_limit: Span = Span::seconds(10);
    /// How many connections may be open, or fewer if the system allows fewer open files
    connection_limit: Count = Count(8_192);
    /// How many bytes of bodies and answers larger than 16 KiB may be in memory
    memory_limit: Bytes = Bytes(134_217_728);
    /// Origins of web pages that may change orders, with commas between them
    allowed_origins: Origins = Origins::default();
    /// How long a node that shuts down still serves, while readiness says that it does not
    shutdown_delay: Span = Span::seconds(0);
    /// How long a shutdown waits for running operations
    shutdown_limit: Span = Span::seconds(30);
}
