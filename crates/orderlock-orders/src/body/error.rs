//! The errors of a body, each with its JSON pointer.

use std::fmt::Write as _;

use serde::Serialize;

use crate::bounds::ERRORS_MAX;

/// A body that is not taken. Nothing has happened to any order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The text is not JSON.
    #[error("the body is not JSON: {0}")]
    Malformed(String),
    /// The text is JSON, but not what the operation takes.
    #[error(transparent)]
    Invalid(Invalid),
}

/// Everything that is wrong with a body, up to [`ERRORS_MAX`] errors, in the order of the body's
/// own description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body has errors at: {}", self.pointers())]
pub struct Invalid {
    /// The errors; at least one.
    pub errors: Vec<FieldError>,
}

impl Invalid {
    fn pointers(&self) -> String {
        let pointers: Vec<&str> = self.errors.iter().map(|e| e.pointer.as_str()).collect();
        pointers.join(", ")
    }
}

/// What is wrong with one part of a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FieldError {
    /// Where: a JSON pointer (RFC 6901); empty for the body itself.
    pub pointer: String,
    /// What it should be. It never repeats what was sent.
    pub detail: String,
}

/// The way to a part of a body. It becomes text only when something is wrong there.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Member(&'a Self, &'a str),
    Item(&'a Self, usize),
}

/// The most characters of a member's name that a pointer repeats: names come from outside.
const NAME_SHOWN_MAX: usize = 64;

impl Path<'_> {
    /// Whether it leads into the user's own data, where a number may be a decimal.
    pub(super) fn is_in_metadata(&self) -> bool {
        match self {
            Self::Root => false,
            Self::Member(Self::Root, name) => *name == "metadata",
            Self::Member(parent, _) | Self::Item(parent, _) => parent.is_in_metadata(),
        }
    }

    fn write(&self, pointer: &mut String) {
        match self {
            Self::Root => {}
            Self::Member(parent, name) => {
                parent.write(pointer);
                pointer.push('/');
                for character in name.chars().take(NAME_SHOWN_MAX) {
                    match character {
                        '~' => pointer.push_str("~0"),
                        '/' => pointer.push_str("~1"),
                        other => pointer.push(other),
                    }
                }
            }
            Self::Item(parent, at) => {
                parent.write(pointer);
                // Writing to a text cannot fail.
                let _ = write!(pointer, "/{at}");
            }
        }
    }
}

/// Collects the errors of a body, at most [`ERRORS_MAX`](crate::bounds::ERRORS_MAX).
#[derive(Default)]
pub(crate) struct Errors(Vec<FieldError>);

impl Errors {
    /// Notes an error, unless too many are noted already, or one at the same place: what follows
    /// from a first error there does not help the client.
    pub(crate) fn add(&mut self, path: Path<'_>, detail: impl Into<String>) {
        if self.0.len() < ERRORS_MAX {
            let mut pointer = String::new();
            path.write(&mut pointer);
            if self.0.iter().all(|error| error.pointer != pointer) {
                let detail = detail.into();
                self.0.push(FieldError { pointer, detail });
            }
        }
    }

    /// The value, if nothing was noted.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, BodyError> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(BodyError::Invalid(self.into())),
        }
    }
}

impl From<Errors> for Invalid {
    fn from(Errors(errors): Errors) -> Self {
        Self { errors }
    }
}
