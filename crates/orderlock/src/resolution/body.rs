//! The body of a resolution, read and checked: every fault is named by its JSON pointer.

use orderlock_core::{LeaseId, OrderType, Outcome, Problem, Resolution};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::problems::{BODY_INVALID, BODY_MALFORMED};

/// The most bytes of a mark's id, a problem's type, title and detail.
const TEXT_MAX: usize = 1_000;
/// The most characters of a reason.
const REASON_MAX: usize = 1_000;
/// The most characters that are shown of what a decoder says.
const FAULT_MAX: usize = 200;

/// A decision as it was sent.
#[derive(Debug)]
pub(super) struct Decided<T> {
    pub(super) mark: LeaseId,
    pub(super) reason: String,
    pub(super) resolution: Resolution<T>,
}

/// The members, not looked into yet: an order's numbers stay as they are written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members<'a> {
    #[serde(borrow)]
    decision: Option<&'a RawValue>,
    #[serde(borrow)]
    mark: Option<&'a RawValue>,
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
    #[serde(borrow)]
    outcome: Option<&'a RawValue>,
    #[serde(borrow)]
    order: Option<&'a RawValue>,
    #[serde(borrow)]
    problem: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProblemMembers {
    status: u16,
    #[serde(rename = "type")]
    kind: String,
    title: String,
    detail: Option<String>,
}

/// What is wrong, place by place.
#[derive(Default)]
struct Faults(Vec<Value>);

impl Faults {
    fn at(&mut self, pointer: &str, detail: impl Into<String>) {
        let detail = detail.into();
        self.0.push(json!({"pointer": pointer, "detail": detail}));
    }

    fn problem(self) -> Problem {
        BODY_INVALID.described().with_member("errors", self.0)
    }
}

/// Reads the body of a decision.
pub(super) fn read<T: OrderType>(body: &[u8]) -> Result<Decided<T>, Problem> {
    let members: Members<'_> = members(body)?;
    let mut faults = Faults::default();
    let mark = text(members.mark, "/mark", TEXT_MAX, &mut faults);
    let reason = text(members.reason, "/reason", REASON_MAX, &mut faults);
    let resolution = resolution(&members, &mut faults);
    match (mark, reason, resolution) {
        (Some(mark), Some(reason), Some(resolution)) if faults.0.is_empty() => Ok(Decided {
            mark: LeaseId(mark.into()),
            reason,
            resolution,
        }),
        _ => Err(faults.problem()),
    }
}

/// Reads the body `{"reason": ..}`.
pub(crate) fn read_reason(body: &[u8]) -> Result<String, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Reason<'a> {
        #[serde(borrow)]
        reason: Option<&'a RawValue>,
    }
    let Reason { reason } = members(body)?;
    let mut faults = Faults::default();
    text(reason, "/reason", REASON_MAX, &mut faults).ok_or_else(|| faults.problem())
}

/// The members of a body, not looked into.
fn members<'a, M: Deserialize<'a>>(body: &'a [u8]) -> Result<M, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        if !error.is_data() {
            return BODY_MALFORMED.described();
        }
        let mut faults = Faults::default();
        faults.at("", shown(&error));
        faults.problem()
    })
}

fn resolution<T: OrderType>(members: &Members<'_>, faults: &mut Faults) -> Option<Resolution<T>> {
    match word(members.decision, "/decision", faults)?.as_str() {
        "runAgain" => {
            let nothing = "Only the decision \"settle\" has this member.";
            refuse(members.outcome, "/outcome", nothing, faults);
            refuse(members.order, "/order", nothing, faults);
            refuse(members.problem, "/problem", nothing, faults);
            Some(Resolution::RunAgain)
        }
        "settle" => settled(members, faults).map(Resolution::Settle),
        _ => {
            faults.at("/decision", "It must be \"runAgain\" or \"settle\".");
            None
        }
    }
}

fn settled<T: OrderType>(members: &Members<'_>, faults: &mut Faults) -> Option<Outcome<T>> {
    let outcome = word(members.outcome, "/outcome", faults)?;
    if outcome != "applied" {
        let only = "Only the outcome \"applied\" has this member.";
        refuse(members.order, "/order", only, faults);
    }
    if outcome != "refused" {
        let only = "Only the outcome \"refused\" has this member.";
        refuse(members.problem, "/problem", only, faults);
    }
    match outcome.as_str() {
        "applied" => decoded(members.order, "/order", faults).map(Outcome::Applied),
        "refused" => problem(members.problem, faults).map(Outcome::Refused),
        "unchanged" => Some(Outcome::Unchanged),
        _ => {
            let words = "It must be \"applied\", \"refused\" or \"unchanged\".";
            faults.at("/outcome", words);
            None
        }
    }
}

fn problem(value: Option<&RawValue>, faults: &mut Faults) -> Option<Problem> {
    let members: ProblemMembers = decoded(value, "/problem", faults)?;
    let before = faults.0.len();
    if !(400..=599).contains(&members.status) {
        faults.at("/problem/status", "It must be from 400 to 599.");
    }
    let kind = members
        .kind
        .strip_prefix("/problems/")
        .unwrap_or(&members.kind);
    check(kind, "/problem/type", TEXT_MAX, faults);
    check(&members.title, "/problem/title", TEXT_MAX, faults);
    if let Some(detail) = &members.detail {
        check(detail, "/problem/detail", TEXT_MAX, faults);
    }
    if faults.0.len() > before {
        return None;
    }
    let problem = Problem::new(members.status, kind.to_owned(), members.title);
    Some(match members.detail {
        Some(detail) => problem.with_detail(detail),
        None => problem,
    })
}

fn text(
    value: Option<&RawValue>,
    pointer: &str,
    length_max: usize,
    faults: &mut Faults,
) -> Option<String> {
    let text = word(value, pointer, faults)?;
    check(&text, pointer, length_max, faults).then_some(text)
}

/// Whether a text is of use to people, and within its bound.
fn check(text: &str, pointer: &str, length_max: usize, faults: &mut Faults) -> bool {
    let fault = if text.trim().is_empty() {
        "It is empty.".to_owned()
    } else if text.chars().count() > length_max {
        format!("It has more than {length_max} characters.")
    } else if text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
    {
        "It holds a control character.".to_owned()
    } else {
        return true;
    };
    faults.at(pointer, fault);
    false
}

fn word(value: Option<&RawValue>, pointer: &str, faults: &mut Faults) -> Option<String> {
    decoded(value, pointer, faults)
}

fn decoded<D: DeserializeOwned>(
    value: Option<&RawValue>,
    pointer: &str,
    faults: &mut Faults,
) -> Option<D> {
    let Some(value) = value else {
        faults.at(pointer, "It is missing.");
        return None;
    };
    match serde_json::from_str(value.get()) {
        Ok(decoded) => Some(decoded),
        Err(error) => {
            faults.at(pointer, shown(&error));
            None
        }
    }
}

fn refuse(value: Option<&RawValue>, pointer: &str, why: &str, faults: &mut Faults) {
    if value.is_some() {
        faults.at(pointer, why);
    }
}

/// What a decoder says, without a place that counts from somewhere else, and not too long.
fn shown(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    format!(
        "It does not fit: {}.",
        text.chars().take(FAULT_MAX).collect::<String>()
    )
}
