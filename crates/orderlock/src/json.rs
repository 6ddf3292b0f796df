//! The default answers: `{"status":200,"result":<order>}` and problem documents.

use bytes::Bytes;
use orderlock_core::{
    Answer, Answers, AppliedPart, Document, OutcomeKind, Problem, SettledView, Times,
};

use crate::answer::located;
use crate::envelope::envelope;

const JSON: &str = "application/json";
const PROBLEM_JSON: &str = "application/problem+json";

/// The default [`Answers`]: a success is `{"status":200,"result":<order>}`, with `"noop":true`
/// where the order already was as asked, and a problem is a problem document (RFC 9457) with the
/// order as its `result` where the order has changed. A creation says which order it has made:
/// `{"status":201,"id":..,"version":1,"createdAt":..,"updatedAt":..,"result":<order>}`.
///
/// The answer contains the stored order byte for byte; it is not parsed again.
///
/// ```
/// use orderlock::JsonAnswers;
/// // A creation answers `Location: /orders/<id>`.
/// let answers = JsonAnswers::new().with_location_prefix("/orders/");
/// ```
#[derive(Clone, Debug, Default)]
pub struct JsonAnswers {
    location_prefix: Option<String>,
    envelope: bool,
}

impl JsonAnswers {
    /// JSON answers whose `Location`, for a created order, is that of its route.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The path before the order's id in the `Location` of a created order, where it is another one
    /// than that of the route that creates.
    #[must_use]
    pub fn with_location_prefix(self, prefix: impl Into<String>) -> Self {
        Self {
            location_prefix: Some(prefix.into()),
            ..self
        }
    }

    /// Every answer has the order in its [envelope](crate::envelope): `id`, `version`, `createdAt` and
    /// `updatedAt` are members of the order, which therefore must have none of these names itself.
    #[must_use]
    pub fn with_envelope(self) -> Self {
        Self {
            envelope: true,
            ..self
        }
    }

    fn success(&self, settled: &SettledView<'_>) -> Answer {
        let created = settled.outcome == OutcomeKind::Created;
        let status = if created { 201 } else { 200 };
        let mut head = format!(r#"{{"status":{status},"#);
        if settled.outcome == OutcomeKind::Unchanged {
            head.push_str(r#""noop":true,"#);
        }
        if created && !self.envelope {
            let Times { created, updated } = settled.times;
            let id = serde_json::Value::from(settled.target.order.as_str());
            let version = settled.version;
            head.push_str(&format!(
                r#""id":{id},"version":{version},"createdAt":"{created}","updatedAt":"{updated}","#
            ));
        }
        head.push_str(r#""result":"#);
        let prefix = self.location_prefix.as_ref().filter(|_| created);
        Answer {
            status,
            content_type: JSON.into(),
            location: prefix.map(|prefix| located(prefix, &settled.target.order)),
            version: Some(settled.version),
            body: spliced(head.into_bytes(), settled.document),
        }
    }

    /// The answer with the order as clients see it.
    fn shown(
        &self,
        settled: SettledView<'_>,
        answer: impl FnOnce(&SettledView<'_>) -> Answer,
    ) -> Answer {
        if !self.envelope {
            return answer(&settled);
        }
        let SettledView {
            target,
            version,
            document,
            times,
            ..
        } = settled;
        let document = &envelope(target, version, document, times, None);
        answer(&SettledView {
            document,
            ..settled
        })
    }
}

impl Answers for JsonAnswers {
    fn answer(&self, settled: SettledView<'_>) -> Answer {
        match (settled.outcome, settled.problem) {
            (OutcomeKind::AppliedWithError, Some(problem)) => {
                let problem = problem.clone().applied(AppliedPart::Partial);
                self.shown(settled, |settled| problem_answer(&problem, Some(settled)))
            }
            (_, Some(problem)) => problem_answer(&problem.clone().applied(AppliedPart::None), None),
            (_, None) => self.shown(settled, |settled| self.success(settled)),
        }
    }

    fn problem(&self, problem: &Problem, order: Option<SettledView<'_>>) -> Answer {
        match order {
            None => problem_answer(problem, None),
            Some(order) => self.shown(order, |order| problem_answer(problem, Some(order))),
        }
    }
}

fn problem_answer(problem: &Problem, order: Option<&SettledView<'_>>) -> Answer {
    let mut text =
        serde_json::to_vec(problem).unwrap_or_else(|_| br#"{"type":"about:blank"}"#.to_vec());
    // A handler that gives its problem a `result` of its own is not contradicted.
    let order = order.filter(|_| problem.member("result").is_none());
    let body = match order {
        None => text.into(),
        Some(order) => {
            text.pop();
            text.extend_from_slice(br#","result":"#);
            spliced(text, order.document)
        }
    };
    Answer {
        status: problem.status(),
        content_type: PROBLEM_JSON.into(),
        location: None,
        version: order.map(|order| order.version),
        body,
    }
}

/// The document as the last member of an object that has been begun.
fn spliced(mut text: Vec<u8>, document: &Document) -> Bytes {
    text.reserve_exact(document.size() + 1);
    text.extend_from_slice(document.as_bytes());
    text.push(b'}');
    text.into()
}

#[cfg(test)]
mod tests {
    use orderlock_core::{OperationName, OrderId, Target, Tenant, Times, Timestamp, Version};

    use super::*;

    fn answer(outcome: OutcomeKind, problem: Option<&Problem>) -> Answer {
        let target = Target {
            tenant: Tenant::single(),
            order: OrderId::parse("o-1").unwrap(),
        };
        let at = Timestamp::UNIX_EPOCH;
        JsonAnswers::new()
            .with_location_prefix("/orders/")
            .answer(SettledView {
                target: &target,
                operation: &OperationName::parse("confirm").unwrap(),
                outcome,
                problem,
                document: &Document::parse(r#"{"n": 1.00}"#).unwrap(),
                version: Version(3),
                times: Times {
                    created: at,
                    updated: at,
                },
            })
    }

    fn text(answer: &Answer) -> &str {
        std::str::from_utf8(&answer.body).unwrap()
    }

    #[test]
    fn a_success_shows_the_order_as_it_is_stored() {
        let applied = answer(OutcomeKind::Applied, None);
        assert_eq!(text(&applied), r#"{"status":200,"result":{"n": 1.00}}"#);
        assert_eq!(
            (applied.version, applied.location),
            (Some(Version(3)), None)
        );
        let unchanged = answer(OutcomeKind::Unchanged, None);
        assert_eq!(
            text(&unchanged),
            r#"{"status":200,"noop":true,"result":{"n": 1.00}}"#
        );
        let created = answer(OutcomeKind::Created, None);
        assert_eq!(created.status, 201);
        assert_eq!(created.location.as_deref(), Some("/orders/o-1"));
        assert_eq!(
            text(&created),
            "{\"status\":201,\"id\":\"o-1\",\"version\":3,\"createdAt\":\"1970-01-01T00:00:00Z\",\
             \"updatedAt\":\"1970-01-01T00:00:00Z\",\"result\":{\"n\": 1.00}}"
        );
    }

    #[test]
    fn a_problem_shows_the_order_only_where_it_has_changed() {
        let problem = Problem::new(402, "declined", "Declined");
        let refused = answer(OutcomeKind::Refused, Some(&problem));
        assert_eq!((refused.status, refused.version), (402, None));
        assert!(
            text(&refused).contains(r#""applied":"none""#),
            "{}",
            text(&refused)
        );
        let partial = answer(OutcomeKind::AppliedWithError, Some(&problem));
        assert_eq!(partial.version, Some(Version(3)));
        assert!(
            text(&partial).ends_with(r#""applied":"partial","result":{"n": 1.00}}"#),
            "{}",
            text(&partial)
        );
    }

    #[test]
    fn a_result_of_the_handlers_own_stands() {
        let problem = Problem::new(402, "declined", "Declined").with_member("result", "mine");
        let partial = answer(OutcomeKind::AppliedWithError, Some(&problem));
        assert_eq!(
            text(&partial).matches("result").count(),
            1,
            "{}",
            text(&partial)
        );
    }
}
