//! What a settle writes of an order: the difference, so that all that the handler's type does not
//! know stays as it is, with its type.

use mongodb::bson::{Bson, Document as Fields};

use crate::document::items;
use crate::document::json::{is_addressable, same};
use crate::error::Failure;

/// What changes of the fields, as paths for `$set` and `$unset`, and the fields after it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FieldChanges {
    pub(crate) set: Fields,
    pub(crate) unset: Vec<String>,
    pub(crate) after: Fields,
}

/// How a member that the returned order leaves out is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// It was removed: Orderlock alone has written this order, or the handler's type knows every
    /// member.
    Removed,
    /// It is not the handler's: others write to this order too, and their members stay.
    Kept,
}

/// The difference between an order's fields and what the handler returned.
///
/// # Errors
/// [`Failure::Impossible`] if members would be lost that are others'.
pub(crate) fn difference(
    before: &Fields,
    returned: &Fields,
    absent: Absent,
) -> Result<FieldChanges, Failure> {
    let mut difference = FieldChanges::default();
    difference.after = difference.walk("", before, returned, absent)?;
    Ok(difference)
}

impl FieldChanges {
    fn walk(
        &mut self,
        path: &str,
        before: &Fields,
        returned: &Fields,
        absent: Absent,
    ) -> Result<Fields, Failure> {
        let mut after = Fields::new();
        for (name, was) in before {
            let place = place(path, name);
            match returned.get(name) {
                None if absent == Absent::Kept => {
                    after.insert(name, was.clone());
                }
                None => self.unset.push(place),
                Some(is) if same(was, is) => {
                    after.insert(name, was.clone());
                }
                Some(is) => {
                    let is = self.change(place, was, is, absent)?;
                    after.insert(name, is);
                }
            }
        }
        for (name, is) in returned {
            if !before.contains_key(name) {
                self.set.insert(place(path, name), is.clone());
                after.insert(name, is.clone());
            }
        }
        Ok(after)
    }

    /// Two documents are gone into, as far as their members can be addressed. Anything else is
    /// written whole: a place in a list is not the same place if somebody else has changed the list.
    fn change(
        &mut self,
        place: String,
        was: &Bson,
        is: &Bson,
        absent: Absent,
    ) -> Result<Bson, Failure> {
        match (was, is) {
            (Bson::Document(was), Bson::Document(is)) if can_be_gone_into(was, is) => {
                self.walk(&place, was, is, absent).map(Bson::Document)
            }
            _ => {
                let is = match absent {
                    Absent::Removed => is.clone(),
                    Absent::Kept => items::merge(was, is, &place)?,
                };
                if !same(was, &is) {
                    self.set.insert(place, is.clone());
                }
                Ok(is)
            }
        }
    }
}

fn can_be_gone_into(was: &Fields, is: &Fields) -> bool {
    was.keys().chain(is.keys()).all(|name| is_addressable(name))
}

fn place(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;
    use mongodb::bson::oid::ObjectId;

    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let id = ObjectId::parse_str("0123456789abcdef01234567").unwrap();
        let before = doc! {
            "status": "open", "customer": id, "count": 3_i64, "old": 1,
            "address": {"city": "Ulm", "zip": "1", "old": 1}, "lines": [1, 2],
        };
        let returned = doc! {
            "status": "paid", "customer": id, "count": 3,
            "address": {"city": "Bonn", "zip": "1"}, "lines": [1, 2, 3], "new": {"a": 1},
        };
        let exact = difference(&before, &returned, Absent::Removed).unwrap();
        let set = doc! {
            "status": "paid", "address.city": "Bonn", "lines": [1, 2, 3], "new": {"a": 1},
        };
        assert_eq!(exact.set, set);
        assert_eq!(exact.unset, ["old", "address.old"]);
        assert!(same(&exact.after.into(), &returned.clone().into()));
        let shared = difference(&before, &returned, Absent::Kept).unwrap();
        assert_eq!((shared.set, shared.unset), (set, vec![]));
        assert_eq!(shared.after.get("old"), Some(&Bson::Int32(1)));
        assert_eq!(
            shared.after.get("count"),
            Some(&Bson::Int64(3)),
            "its type stays"
        );
        assert_eq!(shared.after.get_document("address").unwrap().len(), 3);
    }

    #[test]
    fn an_odd_name_makes_its_document_be_written_whole() {
        let before = doc! {"odd": {"a.b": 1, "c": 1}, "kind": {"x": 1}};
        let returned = doc! {"odd": {"a.b": 1, "c": 2}, "kind": 7};
        let difference = difference(&before, &returned, Absent::Removed).unwrap();
        assert_eq!(difference.set, returned);
        assert_eq!(difference.unset, [""; 0]);
    }

    #[test]
    fn nothing_is_no_difference() {
        let fields = doc! {"a": {"b": [1, {"c": 2}]}};
        let difference = difference(&fields, &fields, Absent::Removed).unwrap();
        assert!(difference.set.is_empty() && difference.unset.is_empty());
        assert_eq!(difference.after, fields);
    }
}
