//! What becomes of values that are written whole in an order to which others write too: lists above
//! all. A member that the handler's type does not know is not in what it returns, and stays.
//!
//! Items of a list have no names, so that it must be told which of the returned ones is which of
//! those that were there. An item that comes back as it was shown is the same item, wherever it
//! stands. Of the others, two are the same if their `_id` (or `id`) says so; where that says nothing,
//! if they alone have a text, such as an article's number; or if they stand between the same
//! neighbours and have some text in common. An item that nobody returned was removed, one that is
//! like none is new. Where that leaves it open whether an item was changed or replaced, and members
//! of others would be lost, nothing is written.

use std::collections::HashMap;

use mongodb::bson::{Bson, Document as Fields};

use crate::document::json::same;
use crate::error::Failure;

/// How many pairs of items are compared with each other.
const PAIRS_MAX: usize = 1_000_000;

/// The value that is to stand there: what was returned, and what the handler's type does not know of
/// what was there.
///
/// # Errors
/// [`Failure::Impossible`] if that cannot be told of an item of a list.
pub(crate) fn merge(was: &Bson, is: &Bson, place: &str) -> Result<Bson, Failure> {
    if same(was, is) {
        return Ok(was.clone());
    }
    match (was, is) {
        (Bson::Document(was), Bson::Document(is)) => {
            merge_fields(was, is, place).map(Bson::Document)
        }
        (Bson::Array(was), Bson::Array(is)) => merge_items(was, is, place).map(Bson::Array),
        _ => Ok(is.clone()),
    }
}

fn merge_fields(was: &Fields, is: &Fields, place: &str) -> Result<Fields, Failure> {
    let mut merged = was.clone();
    for (name, is) in is {
        let value = match was.get(name) {
            Some(was) => merge(was, is, &format!("{place}.{name}"))?,
            None => is.clone(),
        };
        merged.insert(name, value);
    }
    Ok(merged)
}

fn merge_items(was: &[Bson], is: &[Bson], place: &str) -> Result<Vec<Bson>, Failure> {
    let known: Vec<&Fields> = is.iter().filter_map(Bson::as_document).collect();
    let hides: Vec<bool> = was.iter().map(|item| hides(&known, item)).collect();
    if !hides.contains(&true) {
        return Ok(is.to_vec());
    }
    let mut pairs = Pairs::equal(was, is).ok_or_else(|| undecided(place))?;
    pairs.by_identity();
    pairs.by_texts_of_their_own();
    pairs.by_neighbours();
    if pairs.leave_open(&hides) {
        return Err(undecided(place));
    }
    let merged = is.iter().zip(&pairs.partners);
    merged
        .map(|(item, partner)| match partner {
            Some(partner) => merge(&was[*partner], item, place),
            None => Ok(item.clone()),
        })
        .collect()
}

fn undecided(place: &str) -> Failure {
    Failure::impossible(format!(
        "items of the list `{place}` have members that the order's type does not know, and it cannot be \
         told which of them were changed and which replaced: give each item an `_id` or `id`, or let \
         the type know every member"
    ))
}

/// Whether a value has members that none of the returned items has: what the type does not know.
fn hides(known: &[&Fields], value: &Bson) -> bool {
    match value {
        Bson::Document(fields) => fields.iter().any(|(name, value)| {
            let there: Vec<&Bson> = known.iter().filter_map(|fields| fields.get(name)).collect();
            let below: Vec<&Fields> = there
                .iter()
                .flat_map(|value| match value {
                    Bson::Array(items) => items.iter().filter_map(Bson::as_document).collect(),
                    other => other.as_document().into_iter().collect::<Vec<_>>(),
                })
                .collect();
            there.is_empty() || (!below.is_empty() && hides(&below, value))
        }),
        Bson::Array(items) => items.iter().any(|item| hides(known, item)),
        _ => false,
    }
}

/// Whether a handler that has not touched an item returns this for it.
fn shows(was: &Bson, is: &Bson) -> bool {
    match (was, is) {
        (Bson::Document(was), Bson::Document(is)) => is
            .iter()
            .all(|(name, is)| was.get(name).is_some_and(|was| shows(was, is))),
        (Bson::Array(was), Bson::Array(is)) => {
            was.len() == is.len() && was.iter().zip(is).all(|(was, is)| shows(was, is))
        }
        _ => same(was, is),
    }
}

/// Which item was which.
struct Pairs<'a> {
    was: &'a [Bson],
    is: &'a [Bson],
    /// Of each returned item, the one that it was.
    partners: Vec<Option<usize>>,
    used: Vec<bool>,
}

impl<'a> Pairs<'a> {
    /// The items that come back as they were: first from both ends, then those between. None if
    /// there are too many to compare.
    fn equal(was: &'a [Bson], is: &'a [Bson]) -> Option<Self> {
        let mut pairs = Self {
            was,
            is,
            partners: vec![None; is.len()],
            used: vec![false; was.len()],
        };
        let shortest = was.len().min(is.len());
        let front = was.iter().zip(is).take_while(|(was, is)| shows(was, is));
        let front = front.count();
        (0..front).for_each(|at| pairs.pair(at, at));
        let back = was.iter().rev().zip(is.iter().rev());
        let back = back.take(shortest - front);
        let back = back.take_while(|(was, is)| shows(was, is)).count();
        (1..=back).for_each(|end| pairs.pair(was.len() - end, is.len() - end));
        let (was_left, is_left) = (front..was.len() - back, front..is.len() - back);
        if was_left.len().saturating_mul(is_left.len()) > PAIRS_MAX {
            return None;
        }
        for at in is_left {
            let like = |other: &usize| !pairs.used[*other] && shows(&was[*other], &is[at]);
            let same_place = Some(at).filter(|at| was_left.contains(at) && like(at));
            let found = same_place.or_else(|| was_left.clone().find(like));
            if let Some(found) = found {
                pairs.pair(found, at);
            }
        }
        Some(pairs)
    }

    fn pair(&mut self, was: usize, is: usize) {
        self.partners[is] = Some(was);
        self.used[was] = true;
    }

    /// Items that were there and are none of the returned ones, as far as is known.
    fn left(&self) -> Vec<usize> {
        (0..self.was.len()).filter(|at| !self.used[*at]).collect()
    }

    /// Returned items that are none of those that were there, as far as is known.
    fn added(&self) -> Vec<usize> {
        let items = 0..self.is.len();
        items.filter(|at| self.partners[*at].is_none()).collect()
    }

    /// Items whose own names say that they are one.
    fn by_identity(&mut self) {
        for at in self.added() {
            let left = self.left().into_iter();
            let mut same = left.filter(|was| self.identity(*was, at) == Some(true));
            if let Some(was) = same.next() {
                self.pair(was, at);
            }
        }
    }

    /// Whether two items are one, as far as their own names say it.
    fn identity(&self, was: usize, at: usize) -> Option<bool> {
        let named = |name| {
            Some(same(
                member(&self.was[was], name)?,
                member(&self.is[at], name)?,
            ))
        };
        named("_id").or_else(|| named("id"))
    }

    /// Items that have a text in common which no other item has under that name.
    fn by_texts_of_their_own(&mut self) {
        let mut found = self.with_texts_of_their_own();
        found.retain(|(was, at)| !self.used[*was] && self.partners[*at].is_none());
        self.pair_what_is_certain(&found);
    }

    fn with_texts_of_their_own(&self) -> Vec<(usize, usize)> {
        let was = only(self.was);
        let mut found: Vec<(usize, usize)> = only(self.is)
            .into_iter()
            .filter_map(|(text, at)| Some((was.get(&text).copied()??, at?)))
            .filter(|(was, at)| self.identity(*was, *at).is_none())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Items between the same neighbours that are alike.
    fn by_neighbours(&mut self) {
        let (was_gaps, is_gaps) = self.gaps();
        let (left, new) = (self.left(), self.added());
        let few = left.len().saturating_mul(new.len()) <= PAIRS_MAX;
        let mut found = Vec::new();
        for at in new {
            let near = left.iter().copied().filter(|was| {
                let near = was_gaps[*was] == is_gaps[at] && (few || *was == at);
                near && self.identity(*was, at).is_none()
                    && are_alike(&self.was[*was], &self.is[at])
            });
            found.extend(near.map(|was| (was, at)));
        }
        self.pair_what_is_certain(&found);
    }

    /// Makes pairs of what has only the one partner, or one in the same place.
    fn pair_what_is_certain(&mut self, found: &[(usize, usize)]) {
        let same_length = self.was.len() == self.is.len();
        let mut times = (vec![0_usize; self.was.len()], vec![0_usize; self.is.len()]);
        for (was, at) in found {
            times.0[*was] += 1;
            times.1[*at] += 1;
        }
        for (was, at) in found {
            let only = times.0[*was] == 1 && times.1[*at] == 1;
            let certain = only || (same_length && was == at);
            if certain && !self.used[*was] && self.partners[*at].is_none() {
                self.pair(*was, *at);
            }
        }
    }

    /// Behind how many of the items that stayed each one stands, as it was and as it is. Once items
    /// have changed their places, that says nothing.
    fn gaps(&self) -> (Vec<usize>, Vec<usize>) {
        fn counted(stays: impl Iterator<Item = bool>) -> Vec<usize> {
            let count = |before: &mut usize, stays: bool| {
                let gap = *before;
                *before += usize::from(stays);
                Some(gap)
            };
            stays.scan(0, count).collect()
        }
        if !self.partners.iter().flatten().is_sorted() {
            return (vec![0; self.was.len()], vec![0; self.is.len()]);
        }
        let was = counted(self.used.iter().copied());
        (was, counted(self.partners.iter().map(Option::is_some)))
    }

    /// Whether it is open if an item was changed or replaced that hides members.
    fn leave_open(&self, hides: &[bool]) -> bool {
        let (was_gaps, is_gaps) = self.gaps();
        let alike = self.with_texts_of_their_own();
        let mut left = self.left();
        left.retain(|was| hides[*was] && self.was[*was].as_document().is_some());
        let mut new = self.added();
        new.retain(|at| self.is[*at].as_document().is_some());
        let may_be_one = |was: usize, at: usize| {
            let near = was_gaps[was] == is_gaps[at] && self.identity(was, at).is_none();
            near || alike.binary_search(&(was, at)).is_ok()
        };
        new.into_iter()
            .any(|at| left.iter().any(|was| may_be_one(*was, at)))
    }
}

/// The texts of items by their names, each with the item that has it; none if several have.
fn only(items: &[Bson]) -> HashMap<(&str, String), Option<usize>> {
    let mut texts = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        for (name, value) in item.as_document().into_iter().flatten() {
            let text = match value {
                Bson::String(text) => text.clone(),
                Bson::ObjectId(id) => id.to_hex(),
                _ => continue,
            };
            texts
                .entry((name.as_str(), text))
                .and_modify(|item| *item = None)
                .or_insert(Some(at));
        }
    }
    texts
}

fn member<'a>(item: &'a Bson, name: &str) -> Option<&'a Bson> {
    item.as_document()?.get(name)
}

fn is_text(value: &Bson) -> bool {
    matches!(value, Bson::String(_) | Bson::ObjectId(_))
}

fn is_number(value: &Bson) -> bool {
    matches!(value, Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_))
}

/// The members of that kind which two items have in common.
fn in_common<'a>(
    was: &'a Bson,
    is: &'a Bson,
    kind: fn(&Bson) -> bool,
) -> impl Iterator<Item = (&'a str, &'a Bson)> {
    let members = is.as_document().into_iter().flatten();
    let kind = members.filter(move |(_, value)| kind(value));
    let common = kind.filter(|(name, is)| member(was, name).is_some_and(|was| same(was, is)));
    common.map(|(name, value)| (name.as_str(), value))
}

/// Whether two items have a text in common or, where neither has any, a number.
fn are_alike(was: &Bson, is: &Bson) -> bool {
    let has_texts = |item: &Bson| {
        let members = item.as_document().into_iter().flatten();
        members.into_iter().any(|(_, value)| is_text(value))
    };
    match has_texts(was) || has_texts(is) {
        true => in_common(was, is, is_text).next().is_some(),
        false => in_common(was, is, is_number).next().is_some(),
    }
}

#[cfg(test)]
mod tests;
