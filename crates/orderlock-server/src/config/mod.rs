//! Where settings come from: flags before variables before the file before the defaults.

mod logging;
mod node;
mod settings;
mod store;
mod values;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use figment::error::Kind;
use figment::providers::{Format as _, Serialized, Toml};
use figment::{Figment, Provider};
use orderlock::{Limits, Retention};
use orderlock_orders::ProcessConfig;

pub use logging::{LogFormat, LogLevel};
pub use node::NodeName;
pub use settings::{Given, Settings};
pub use store::{DatabaseAddress, Store};
pub use values::{Bytes, Count, Flag, Listen, Span};

/// What every variable begins with.
const PREFIX: &str = "ORDERLOCK_";

/// The variable that names the file; it is no setting itself.
pub const FILE_VARIABLE: &str = "ORDERLOCK_CONFIG";

/// Settings that cannot be used, in words for the person who wrote them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(String);

impl ConfigError {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// The settings, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    origins: BTreeMap<&'static str, String>,
}

/// Reads the settings from every source. `variables` is the environment.
///
/// # Errors
/// [`ConfigError`] for a file that cannot be read, a name that is unknown, or a value that does
/// not fit: which, where, and what would do.
pub fn load(
    flags: Given,
    file: Option<&Path>,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded {
        settings: Settings::default(),
        origins: BTreeMap::new(),
    };
    if let Some(path) = file {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError(format!("The file {place} cannot be read: {error}.")))?;
        let given = read(Toml::string(&text), Place::File(&place))?;
        loaded.take(given, |_| place.clone());
    }
    let given = read(environment(variables), Place::Variables)?;
    loaded.take(given, variable);
    loaded.take(flags, |name| format!("--{}", name.replace('_', "-")));
    loaded.settings.check()?;
    Ok(loaded)
}

impl Loaded {
    fn take(&mut self, given: Given, origin: impl Fn(&str) -> String) {
        let Self { settings, origins } = self;
        settings.take(given, |name| drop(origins.insert(name, origin(name))));
    }

    /// Every setting with its value and where it came from, as a file of settings.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        for (name, value) in Settings::NAMES.iter().zip(self.settings.values()) {
            let origin = self.origins.get(name).map_or("default", String::as_str);
            let bare = value.parse::<u64>().is_ok() || value.parse::<bool>().is_ok();
            let shown = if bare { value } else { format!("{value:?}") };
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{:<50} # {origin}", format!("{name} = {shown}"));
        }
        text
    }
}

/// The variables that are settings. An orchestrator that runs a service called `orderlock` sets
/// `ORDERLOCK_SERVICE_HOST`, `ORDERLOCK_PORT_8080_TCP` and the like: they are not meant for us.
fn environment(variables: impl Iterator<Item = (String, String)>) -> impl Provider {
    let foreign =
        |name: &str| name == "port" || name.starts_with("port_") || name.starts_with("service_");
    let settings = variables.filter_map(|(name, value)| {
        let setting = name.strip_prefix(PREFIX)?.to_lowercase();
        (name != FILE_VARIABLE && !foreign(&setting)).then_some((setting, value))
    });
    let values: BTreeMap<String, figment::value::Value> = settings
        .map(|(name, value)| {
            let value = match value.parse::<u64>() {
                Ok(number) => number.into(),
                Err(_) => value.into(),
            };
            (name, value)
        })
        .collect();
    Serialized::defaults(values)
}

fn variable(name: &str) -> String {
    format!("{PREFIX}{}", name.to_uppercase())
}

/// Where a source's settings stand.
#[derive(Clone, Copy)]
enum Place<'a> {
    File(&'a str),
    Variables,
}

impl Place<'_> {
    /// A setting's name as it is written there.
    fn name(self, name: &str) -> String {
        match self {
            Self::File(_) => format!("`{name}`"),
            Self::Variables => format!("`{}`", variable(name)),
        }
    }

    /// The name and where it was found.
    fn found(self, name: &str) -> String {
        match self {
            Self::File(file) => format!("{} in {file}", self.name(name)),
            Self::Variables => self.name(name),
        }
    }
}

/// Reads one source by itself, so that what is wrong in it is never hidden by another.
fn read(source: impl Provider, place: Place<'_>) -> Result<Given, ConfigError> {
    Figment::from(source)
        .extract()
        .map_err(|error: figment::Error| {
            let name = error.path.join(".");
            let text = match &error.kind {
                Kind::UnknownField(unknown, _) => {
                    format!(
                        "There is no setting {}.{}",
                        place.found(unknown),
                        suggestion(unknown, place)
                    )
                }
                Kind::Message(message) => match place {
                    Place::File(file) if name.is_empty() => {
                        format!("The file {file} cannot be read: {message}")
                    }
                    _ => format!("{}: {message}.", place.found(&name)),
                },
                Kind::InvalidType(actual, expected) => {
                    format!("{} is {actual}; write {expected}.", place.found(&name))
                }
                kind => format!("{}: {kind}.", place.found(&name)),
            };
            ConfigError(text)
        })
}

fn suggestion(unknown: &str, place: Place<'_>) -> String {
    let unknown = unknown.to_lowercase().replace('-', "_");
    let near = Settings::NAMES
        .iter()
        .map(|name| (distance(&unknown, name), name))
        .min();
    match near {
        Some((distance, name)) if distance <= 3 => format!(" Did you mean {}?", place.name(name)),
        _ => " `orderlock serve --print-config` shows all of them.".to_owned(),
    }
}

/// How many letters must be changed, added or taken away to make one word of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, expected) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *expected);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

impl Settings {
    /// What no single value can say of itself.
    fn check(&self) -> Result<(), ConfigError> {
        let refuse = |text: String| Err(ConfigError(text));
        if !self.listen.0.ip().is_loopback() {
            return refuse(format!(
                "Orderlock has no authentication yet, so it listens on loopback addresses only, \
                 and {} is none: everybody who can reach it could change every order. Use \
                 127.0.0.1, and put a proxy that signs clients in before it.",
                self.listen.0
            ));
        }
        let positive = [
            ("handler_limit", self.handler_limit.0),
            ("store_limit", self.store_limit.0),
            ("answer_retention", self.answer_retention.0),
            ("body_time_limit", self.body_time_limit.0),
            ("header_time_limit", self.header_time_limit.0),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, span)| span.is_zero()) {
            return refuse(format!("`{name}` must be more than nothing."));
        }
        // Each bounds memory, so that it must be a bound.
        let counts = [
            ("line_limit", self.line_limit.0, 65_536),
            ("in_flight_limit", self.in_flight_limit.0, 1_048_576),
            ("body_limit", self.body_limit.0, 64 * 1024 * 1024),
            ("connection_limit", self.connection_limit.0, 65_536),
            ("store_connections", self.store_connections.0, 1_000),
        ];
        for (name, count, most) in counts {
            if !(1..=most).contains(&count) {
                return refuse(format!("`{name}` is {count}; it must be from 1 to {most}."));
            }
        }
        if self.session_length.0 < Duration::from_secs(1) {
            return refuse("`session_length` must be at least 1s.".to_owned());
        }
        if self.tombstone_retention.0 < self.answer_retention.0 {
            return refuse(
                "`tombstone_retention` must be at least as long as `answer_retention`: a key \
                 that is forgotten before its answer could be used twice."
                    .to_owned(),
            );
        }
        Ok(())
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
        }
    }
}

#[cfg(test)]
mod tests;
