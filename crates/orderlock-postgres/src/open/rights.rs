//! What the database's role may do: looked at when the store is opened, and told with what to say to
//! the database where it is too little.

use tokio_postgres::Client;

use crate::connect::error::OpenError;
use crate::sql::error::chain;

/// Every table that a node writes.
const TABLES: [&str; 8] = [
    "ended", "entries", "keys", "known", "orders", "sessions", "store", "waits",
];

/// Who asks, in which schema, and which of the tables they may not read and write.
const LOOK: &str = "
    SELECT quote_ident(current_user), quote_ident(coalesce(current_schema(), 'public')),
        (SELECT string_agg(t.name, ', ') FROM unnest($1::text[]) t (name)
        WHERE NOT coalesce(has_table_privilege(to_regclass(t.name), 'SELECT')
            AND has_table_privilege(to_regclass(t.name), 'INSERT')
            AND has_table_privilege(to_regclass(t.name), 'UPDATE')
            AND has_table_privilege(to_regclass(t.name), 'DELETE'), false))";

/// Refuses a role that could not work with the tables, which are there.
pub(crate) async fn check(client: &Client) -> Result<(), OpenError> {
    let row = client.query_one(LOOK, &[&&TABLES[..]]).await?;
    let (role, schema): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    let Some(tables): Option<String> = row.try_get(2)? else {
        return Ok(());
    };
    Err(OpenError::Rights(format!(
        "it may not read and write {tables}; as the owner of the tables, say: \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}"
    )))
}

/// What a person can do who is told that the role may not do something to the layout.
pub(crate) async fn refused(client: &Client, error: &tokio_postgres::Error) -> OpenError {
    let said = chain(error);
    let Ok(row) = client.query_one(LOOK, &[&&TABLES[..]]).await else {
        return OpenError::Rights(said);
    };
    let name = |column| row.try_get::<_, String>(column).unwrap_or_default();
    let (role, schema) = (name(0), name(1));
    OpenError::Rights(format!(
        "{said}; start once as the owner of the tables, which makes them or brings them up to date, \
         and then, as the owner, say: GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT, \
         INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}. Or let this role be the \
         owner: GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}"
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn no_table_is_forgotten() {
        let steps = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut made = BTreeSet::new();
        for step in std::fs::read_dir(steps).unwrap() {
            let text = std::fs::read_to_string(step.unwrap().path()).unwrap();
            let tables = text.lines().filter_map(|line| {
                let line = line.strip_prefix("CREATE ")?;
                let line = line.strip_prefix("UNLOGGED ").unwrap_or(line);
                let name = line.strip_prefix("TABLE ")?.split_whitespace().next()?;
                Some(name.to_owned())
            });
            made.extend(tables);
        }
        let listed: BTreeSet<_> = TABLES.iter().map(|&table| table.to_owned()).collect();
        assert_eq!(made, listed);
    }
}
