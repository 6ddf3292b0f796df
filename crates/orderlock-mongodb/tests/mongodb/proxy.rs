//! A way to the server that knows commands by their names, and does to one of them what a test
//! wants: loses it, loses its answer, answers in the server's place, or says nothing.

use std::io;
use std::sync::{Arc, Mutex};

use mongodb::bson::{Document as Fields, doc};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::place::server;

/// The most bytes of one message: what servers say that they take.
const MESSAGE_MAX: usize = 48_000_000;

/// What becomes of a command.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// The connection breaks before the server has it.
    LostBefore,
    /// The server does it, and the connection breaks before its answer arrives.
    LostAfter,
    /// The server never sees it, and this is the answer.
    Answered(Fields),
    /// The server does it, and this is the answer all the same.
    DoneAndAnswered(Fields),
    /// The server never sees it, and there is no answer.
    Silence,
    /// The server has it once the gate is open.
    Held(Gate),
    /// The server does it, and its answer has these members too.
    Amended(Fields),
}

/// Where a command waits until a test lets it pass.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Notify, Notify)>);

impl Gate {
    /// Waits until a command stands there.
    pub(crate) async fn reached(&self) {
        self.0.0.notified().await;
    }

    /// Lets it pass.
    pub(crate) fn open(&self) {
        self.0.1.notify_one();
    }

    async fn wait(&self) {
        self.0.0.notify_one();
        self.0.1.notified().await;
    }
}

#[derive(Clone, Debug)]
struct Rule {
    command: &'static str,
    collection: String,
    fate: Fate,
    times: usize,
}

#[derive(Debug, Default)]
struct State {
    rules: Mutex<Vec<Rule>>,
    met: Notify,
}

/// A way to the tests' server, on a port of its own.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(State::default());
        let proxy = Self {
            port,
            state: Arc::clone(&state),
        };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                tokio::spawn(async move { serve(client, &state).await });
            }
        });
        proxy
    }

    /// The address of this way.
    pub(crate) fn address(&self) -> String {
        format!("mongodb://127.0.0.1:{}", self.port)
    }

    /// The next so many commands of that name on that collection (none: whatever it is on) meet this
    /// fate, and no others.
    pub(crate) fn meet(&self, command: &'static str, collection: &str, fate: Fate, times: usize) {
        self.let_pass();
        self.meet_too(command, collection, fate, times);
    }

    /// These too.
    pub(crate) fn meet_too(
        &self,
        command: &'static str,
        collection: &str,
        fate: Fate,
        times: usize,
    ) {
        self.state.rules.lock().unwrap().push(Rule {
            command,
            collection: collection.into(),
            fate,
            times,
        });
    }

    /// From now on, nothing is done to any.
    pub(crate) fn let_pass(&self) {
        self.state.rules.lock().unwrap().clear();
    }

    /// Waits until a command has met its fate.
    pub(crate) async fn met(&self) {
        self.state.met.notified().await;
    }
}

impl State {
    fn fate_of(&self, command: &Fields) -> Option<Fate> {
        // The same command notes in an order who waits for it, when a request likes: it counts no turn.
        let update = command.get_document("update");
        let is_note = update.is_ok_and(|update| !update.contains_key("$inc"));
        if is_note
            && command
                .get_str("findAndModify")
                .is_ok_and(|on| on == "orders")
        {
            return None;
        }
        let mut rules = self.rules.lock().unwrap();
        let fits = |rule: &&mut Rule| {
            let on = command.get(rule.command);
            let fits = on.is_some_and(|on| {
                rule.collection.is_empty() || on.as_str() == Some(rule.collection.as_str())
            });
            fits && rule.times > 0
        };
        let found = rules.iter_mut().find(fits)?;
        found.times -= 1;
        let fate = found.fate.clone();
        self.met.notify_one();
        Some(fate)
    }
}

/// The words of a server that is not the primary.
pub(crate) fn not_primary() -> Fields {
    doc! {"ok": 0.0, "code": 10107, "codeName": "NotWritablePrimary", "errmsg": "not primary"}
}

/// The words of a server of which a majority has not confirmed a write.
pub(crate) fn not_confirmed(value: Fields) -> Fields {
    doc! {
        "ok": 1.0,
        "value": value,
        "writeConcernError": {
            "code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication",
        },
    }
}

/// The words of a server with a unique index in the way.
pub(crate) fn duplicate() -> Fields {
    doc! {"ok": 0.0, "code": 11000, "codeName": "DuplicateKey", "errmsg": "E11000 secret value"}
}

async fn serve(client: TcpStream, state: &State) -> io::Result<()> {
    let place = server();
    let address = place.trim_start_matches("mongodb://");
    let server = TcpStream::connect(address).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    while let Some(message) = read(&mut from_client).await? {
        let fate = command(&message).and_then(|command| state.fate_of(&command));
        match fate {
            None => {
                to_server.write_all(&message).await?;
                pass_answer(&mut from_server, &mut to_client).await?;
            }
            Some(Fate::LostBefore) => return Ok(()),
            Some(Fate::LostAfter) => {
                to_server.write_all(&message).await?;
                read(&mut from_server).await?;
                return Ok(());
            }
            Some(Fate::Answered(answer)) => {
                to_client.write_all(&to_answer(&message, &answer)).await?;
            }
            Some(Fate::DoneAndAnswered(answer)) => {
                to_server.write_all(&message).await?;
                read(&mut from_server).await?;
                to_client.write_all(&to_answer(&message, &answer)).await?;
            }
            Some(Fate::Held(gate)) => {
                gate.wait().await;
                to_server.write_all(&message).await?;
                pass_answer(&mut from_server, &mut to_client).await?;
            }
            Some(Fate::Amended(members)) => {
                to_server.write_all(&message).await?;
                let answer = read(&mut from_server).await?;
                let mut fields = answer.as_deref().and_then(command).unwrap_or_default();
                fields.extend(members);
                to_client.write_all(&to_answer(&message, &fields)).await?;
            }
            Some(Fate::Silence) => {
                // It stays until the client gives up.
                read(&mut from_client).await?;
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn pass_answer(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf) -> io::Result<()> {
    let answer = read(from).await?;
    to.write_all(&answer.ok_or(io::ErrorKind::UnexpectedEof)?)
        .await
}

/// One message, as the protocol frames it: its length in front.
async fn read(from: &mut OwnedReadHalf) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let bytes = usize::try_from(i32::from_le_bytes(length)).unwrap_or(0);
    assert!(
        (16..=MESSAGE_MAX).contains(&bytes),
        "a message of {bytes} bytes"
    );
    let mut message = vec![0; bytes];
    message[..4].copy_from_slice(&length);
    from.read_exact(&mut message[4..]).await?;
    Ok(Some(message))
}

/// The command in a message: the section of kind 0 behind header and flags.
fn command(message: &[u8]) -> Option<Fields> {
    let is_message = message.get(12..16)? == 2013_i32.to_le_bytes();
    let body = message.get(21..)?;
    let is_command = is_message && message.get(20) == Some(&0);
    is_command.then(|| Fields::from_reader(body).ok()).flatten()
}

fn to_answer(question: &[u8], answer: &Fields) -> Vec<u8> {
    let body = answer.to_vec().unwrap();
    let length = i32::try_from(21 + body.len()).unwrap();
    let mut message = Vec::new();
    message.extend(length.to_le_bytes());
    message.extend(1_i32.to_le_bytes());
    // What it answers: the question's own number.
    message.extend(&question[4..8]);
    message.extend(2013_i32.to_le_bytes());
    message.extend(0_u32.to_le_bytes());
    message.push(0);
    message.extend(body);
    message
}
