//! Commands to the orders' collection: each write changes one order, on the condition that it is as a
//! filter says.

use mongodb::bson::{Bson, Document as Fields, doc};
use mongodb::options::ReturnDocument;

use crate::database::calls::{Calls, fields_of};
use crate::document::fields::FieldReader;
use crate::document::order::OrderDocument;
use crate::error::Failure;

impl Calls {
    pub(crate) async fn order(&self, id: &Bson) -> Result<Option<OrderDocument>, Failure> {
        let found = self.one(self.orders.find_one(doc! {"_id": id})).await?;
        found.map(OrderDocument::read).transpose()
    }

    /// The one write of a verb: changes one order, if it is as the filter says, and returns it as
    /// it is then.
    pub(crate) async fn change(
        &self,
        filter: Fields,
        update: Fields,
    ) -> Result<Option<OrderDocument>, Failure> {
        let command = self
            .orders
            .find_one_and_update(filter, update)
            .return_document(ReturnDocument::After);
        let changed = self.bounded(command).await?;
        let read = |changed| fields_of(&changed).and_then(OrderDocument::read);
        changed.map(read).transpose()
    }

    /// The same, for those who do not look at the order.
    pub(crate) async fn touch(&self, filter: Fields, update: Fields) -> Result<bool, Failure> {
        let command = self
            .orders
            .find_one_and_update(filter, update)
            .projection(doc! {"_id": 1});
        Ok(self.bounded(command).await?.is_some())
    }

    /// Changes many orders with one command, each by a write of its own, as its filter says. Says how
    /// many were found. It is the command of every server; the driver's own asks for one of version 8.
    pub(crate) async fn touch_all(
        &self,
        updates: impl Iterator<Item = (Fields, Fields)>,
    ) -> Result<usize, Failure> {
        let updates: Vec<_> = updates.map(|(q, u)| doc! {"q": q, "u": u}).collect();
        let orders = &self.orders;
        let mut command = doc! {"update": orders.name(), "updates": updates, "ordered": false};
        if let Some(concern) = orders.write_concern() {
            let concern = mongodb::bson::serialize_to_bson(concern);
            let concern = concern.map_err(|_| Failure::impossible("a write concern"))?;
            command.insert("writeConcern", concern);
        }
        let database = orders.client().database(&orders.namespace().db);
        let reply = self.bounded(database.run_command(command)).await?;
        // Of these the driver does not know that they are failures.
        for failures in ["writeErrors", "writeConcernError"] {
            if let Some(failure) = reply.get(failures) {
                return Err(Failure::impossible(failure.to_string()));
            }
        }
        let found = FieldReader::new("the answer to an update", &reply).number("n")?;
        usize::try_from(found).map_err(|_| Failure::unreadable("the answer to an update"))
    }
}
