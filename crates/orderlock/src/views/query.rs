//! The parameters of a query, read strictly: what is unknown, given twice or wrong is refused and
//! named.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use orderlock_core::Problem;
use orderlock_core::store::{Cursor, Filter};

use crate::answer::Rejection;
use crate::problems::QUERY_INVALID;

/// How many items a page has if the client does not say.
pub const PAGE_DEFAULT: usize = 50;
/// The most items that a page may have.
pub const PAGE_MAX: usize = 200;
/// The longest cursor that is looked at.
pub const CURSOR_MAX: usize = 1_024;

/// Which page of a list the client wants.
#[derive(Debug)]
pub struct Paging {
    /// How many items at most.
    pub limit: usize,
    /// Where it begins: the `next` of an earlier page.
    pub cursor: Option<Cursor>,
}

/// The query of a list of orders.
#[derive(Debug)]
pub struct ListQuery {
    /// Which orders.
    pub filter: Filter,
    /// Which page of them.
    pub paging: Paging,
}

/// The query of a list that has no filter.
#[derive(Debug)]
pub struct PageQuery(pub Paging);

/// The query of a route that has no parameters.
#[derive(Debug)]
pub struct NoQuery;

/// The parameters of a query that are not read yet.
#[derive(Debug)]
pub struct QueryParams(BTreeMap<String, String>);

impl QueryParams {
    /// Takes the query of a request.
    ///
    /// # Errors
    /// `query-invalid` if it is no text, or names a parameter twice.
    pub async fn read(parts: &mut Parts) -> Result<Self, Problem> {
        let mut pairs = parts.uri.query().unwrap_or_default().split('&');
        if let Some(pair) = pairs.find(|pair| !is_text(pair)) {
            let name = pair.split('=').next().unwrap_or_default();
            let shown: String = name.chars().take(64).collect();
            return Err(match is_text(name) {
                true => invalid(&shown, "It is not text: it must be UTF-8."),
                false => QUERY_INVALID.described(),
            });
        }
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, &())
            .await
            .map_err(|_| QUERY_INVALID.described())?;
        let mut params = BTreeMap::new();
        for (name, value) in pairs {
            let shown: String = name.chars().take(64).collect();
            if params.insert(name, value).is_some() {
                return Err(invalid(&shown, "It appears more than once."));
            }
        }
        Ok(Self(params))
    }

    /// Reads one parameter; none if the query does not name it.
    ///
    /// # Errors
    /// `query-invalid` with what was expected if `parse` does not take its text.
    pub fn take<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Option<T>,
        expected: &str,
    ) -> Result<Option<T>, Problem> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(text) => parse(&text)
                .map(Some)
                .ok_or_else(|| invalid(name, expected)),
        }
    }

    /// Reads `limit` and `cursor`.
    ///
    /// # Errors
    /// `query-invalid` if one of them is wrong.
    pub fn paging(&mut self) -> Result<Paging, Problem> {
        let in_range = |text: &str| {
            // Digits alone: the standard reader also takes a sign.
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text.parse().ok().filter(|_| digits);
            number.filter(|n| (1..=PAGE_MAX).contains(n))
        };
        let expected = format!("It must be a whole number from 1 to {PAGE_MAX}.");
        let limit = self.take("limit", in_range, &expected)?;
        let cursor = |text: &str| {
            let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
            let fits = !text.is_empty() && text.len() <= CURSOR_MAX && visible;
            fits.then(|| Cursor(text.into()))
        };
        let cursor = self.take(
            "cursor",
            cursor,
            "It must be the `next` of an earlier page.",
        )?;
        Ok(Paging {
            limit: limit.unwrap_or(PAGE_DEFAULT),
            cursor,
        })
    }

    /// Refuses what was not taken, and names what there is.
    ///
    /// # Errors
    /// `query-invalid` if a parameter is left.
    pub fn finish(self, known: &str) -> Result<(), Problem> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => {
                let shown: String = name.chars().take(64).collect();
                let detail = format!("This parameter is unknown. Known parameters: {known}.");
                Err(invalid(&shown, &detail))
            }
        }
    }
}

/// Whether a query is Unicode text once it is decoded. The decoder would put another character in
/// the place of what is none, and a filter would find orders that do not match it.
fn is_text(query: &str) -> bool {
    let mut parts = query.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let hex = part
            .get(..2)
            .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let rest = match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                &part[2..]
            }
            None => part,
        };
        decoded.extend_from_slice(rest.as_bytes());
    }
    std::str::from_utf8(&decoded).is_ok()
}

fn invalid(parameter: &str, detail: &str) -> Problem {
    QUERY_INVALID
        .problem()
        .with_detail(format!("The parameter `{parameter}`: {detail}"))
        .with_member("parameter", parameter)
}

impl<S: Send + Sync> FromRequestParts<S> for ListQuery {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let mut params = QueryParams::read(parts).await?;
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let filter = Filter {
            status: params.take("status", text, "It must not be empty.")?,
            customer: params.take("customer", text, "It must not be empty.")?,
            locked: params.take(
                "locked",
                |text| text.parse().ok(),
                "It must be true or false.",
            )?,
        };
        let paging = params.paging()?;
        params.finish("`status`, `customer`, `locked`, `limit` and `cursor`")?;
        Ok(Self { filter, paging })
    }
}

impl From<PageQuery> for Paging {
    fn from(PageQuery(paging): PageQuery) -> Self {
        paging
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        let mut params = QueryParams::read(parts).await?;
        let paging = params.paging()?;
        params.finish("`limit` and `cursor`")?;
        Ok(Self(paging))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        QueryParams::read(parts).await?.finish("none")?;
        Ok(Self)
    }
}
