//! Where settings come from: flags before variables before the file before the defaults.

mod check;
mod logging;
mod node;
mod origins;
mod secrets;
mod settings;
mod store;
mod values;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use figment::error::Kind;
use figment::providers::{Format as _, Serialized, Toml};
use figment::{Figment, Provider};

pub use logging::{LogFormat, LogLevel};
pub use node::NodeName;
pub use origins::Origins;
pub(crate) use secrets::{hide, masked};
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
    /// Readers repeat what they cannot read, and an address may be a part of it.
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self(hide(text.as_ref()))
    }
}

/// The settings, and where each came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values in effect, from flags, variables, file and defaults.
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
        let text = std::fs::read_to_string(path).map_err(|error| {
            ConfigError::new(format!("The file {place} cannot be read: {error}."))
        })?;
        let given = read(Toml::string(&text), Place::File(&place))?;
        loaded.take(given, |_| place.clone());
    }
    let given = read(of_settings(variables), Place::Variables)?;
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

/// The environment. A variable that is no Unicode text is none of ours.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The variables that are settings. An orchestrator that runs a service called `orderlock` sets
/// `ORDERLOCK_SERVICE_HOST`, `ORDERLOCK_PORT_8080_TCP` and the like: they are not meant for us.
fn of_settings(variables: impl Iterator<Item = (String, String)>) -> impl Provider {
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

/// Where a source's settings come from.
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
            ConfigError::new(text)
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

#[cfg(test)]
mod tests;
