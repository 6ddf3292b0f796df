//! With which settings the store's statements ran, as the database saw it.

use tokio_postgres::Client;

/// Notes the settings of every statement that writes an order.
const WATCH: &str = "
    CREATE TABLE seen (name text, value text);
    CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO seen SELECT name, current_setting(name) FROM unnest(ARRAY[
            'jit', 'statement_timeout', 'lock_timeout', 'transaction_isolation', 'plan_cache_mode',
            'client_min_messages', 'synchronous_commit', 'enable_seqscan', 'enable_nestloop',
            'idle_session_timeout']) name;
        RETURN NULL;
    END $$;
    CREATE TRIGGER see AFTER INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION see();";

/// What was seen since it was asked for.
pub(crate) struct Seen(Client);

impl Seen {
    pub(crate) async fn by(hand: Client) -> Self {
        hand.batch_execute(WATCH).await.unwrap();
        Self(hand)
    }

    /// The values that a setting had.
    pub(crate) async fn of(&self, name: &str) -> Vec<String> {
        let values = "SELECT DISTINCT value FROM seen WHERE name = $1 ORDER BY 1";
        let rows = self.0.query(values, &[&name]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Forgets what was seen so far.
    pub(crate) async fn clear(&self) {
        self.0.batch_execute("DELETE FROM seen").await.unwrap();
    }
}
