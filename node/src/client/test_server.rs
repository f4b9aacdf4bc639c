//! A tiny server of the exercise for tests: REP and PUB of the `zeromq` crate, either knowing nothing of papo or with the few of
//! its fields that clients use.

use super::loopback;
use bytes::Bytes;
use papo_protocol::codec::{Encoding, Limits, decode, encode};
use papo_protocol::lamport::{Lamport, LamportClock};
use papo_protocol::{Identity, Value};
use papo_settings::Address;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zeromq::{PubSocket, RepSocket, Socket, SocketRecv, SocketSend, ZmqMessage};

/// What the server answers like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The exercise's own statement.
    Foreign,
    /// With `message_id` and `history` by cursor, and each `papo_id` carried out once.
    Papo,
}

/// A stored message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) topic: String,
    pub(crate) user: String,
    pub(crate) text: String,
    pub(crate) direct: bool,
    id: Identity,
}

/// What survives the server's restarts, and what tests look at.
#[derive(Debug, Default)]
pub(crate) struct World {
    pub(crate) users: Vec<String>,
    pub(crate) channels: Vec<String>,
    pub(crate) messages: Vec<Stored>,
    /// Service and `papo_id` of every request heard.
    pub(crate) heard: Vec<(String, Option<Identity>)>,
    /// So many requests are carried out, and the connection then cut without a reply.
    pub(crate) cuts: usize,
    /// Messages in a page of a history read by cursor; 0 sets no bound.
    pub(crate) page: usize,
    /// A cursor of another epoch is invalid.
    pub(crate) epoch: u64,
    clock: LamportClock,
}

/// A running server.
pub(crate) struct TestServer {
    pub(crate) broker: Address,
    pub(crate) proxy: Address,
    pub(crate) world: Arc<Mutex<World>>,
    dialect: Dialect,
    publish: mpsc::UnboundedSender<Stored>,
    task: JoinHandle<()>,
}

struct Sockets {
    rep: RepSocket,
    publisher: PubSocket,
}

impl TestServer {
    pub(crate) async fn start(dialect: Dialect) -> Self {
        Self::with(dialect, Arc::default(), None).await
    }

    /// Another of the same cluster: what one is told, both know.
    pub(crate) async fn start_beside(&self) -> Self {
        Self::with(self.dialect, self.world.clone(), None).await
    }

    async fn with(dialect: Dialect, world: Arc<Mutex<World>>, ports: Option<(Address, Address)>) -> Self {
        let (broker, proxy) = ports.unwrap_or_else(|| (free_address(), free_address()));
        let sockets = Sockets { rep: bind(&broker).await, publisher: bind(&proxy).await };
        let (publish, publications) = mpsc::unbounded_channel();
        let task = tokio::spawn(serve(sockets, broker.clone(), dialect, world.clone(), publications));
        Self { broker, proxy, world, dialect, publish, task }
    }

    /// Stops the server, cutting its connections.
    pub(crate) async fn stop(self) -> Stopped {
        let Self { broker, proxy, world, dialect, publish, task } = self;
        drop(publish);
        task.await.unwrap();
        Stopped { dialect, world, ports: (broker, proxy) }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Publishes as if somebody had posted it to a channel.
    pub(crate) fn publish(&self, topic: &str, user: &str, text: &str, id: u128) {
        self.publish.send(stored(topic, user, text, id)).unwrap();
    }
}

/// A stopped server, which can be started again on its ports.
pub(crate) struct Stopped {
    dialect: Dialect,
    world: Arc<Mutex<World>>,
    ports: (Address, Address),
}

impl Stopped {
    pub(crate) async fn start(self) -> TestServer {
        TestServer::with(self.dialect, self.world, Some(self.ports)).await
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Stores a message without publishing it: it was published while nobody could hear.
    pub(crate) fn store(&self, topic: &str, user: &str, text: &str, id: u128) {
        self.world.lock().unwrap().messages.push(stored(topic, user, text, id));
    }
}

fn stored(topic: &str, user: &str, text: &str, id: u128) -> Stored {
    let id = Identity(id.to_be_bytes());
    Stored { topic: topic.into(), user: user.into(), text: text.into(), direct: false, id }
}

fn free_address() -> Address {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    loopback(listener.local_addr().unwrap().port())
}

async fn bind<S: Socket>(address: &Address) -> S {
    let mut socket = S::new();
    socket.bind(&super::endpoint(address)).await.unwrap();
    socket
}

async fn serve(
    mut sockets: Sockets,
    broker: Address,
    dialect: Dialect,
    world: Arc<Mutex<World>>,
    mut publications: mpsc::UnboundedReceiver<Stored>,
) {
    loop {
        tokio::select! {
            received = sockets.rep.recv() => {
                // A client that went away is no reason to stop.
                let Ok(request) = received else { continue };
                let (reply, publication) = answer(&mut world.lock().unwrap(), request.get(0).unwrap(), dialect);
                if let Some(stored) = publication {
                    sockets.publisher.send(publication_of(&stored, dialect)).await.unwrap();
                }
                let cut = std::mem::replace(&mut world.lock().unwrap().cuts, 0);
                if cut > 0 {
                    world.lock().unwrap().cuts = cut - 1;
                    sockets.rep.close().await;
                    sockets.rep = bind(&broker).await;
                } else {
                    let _ = sockets.rep.send(ZmqMessage::from(reply)).await;
                }
            }
            publication = publications.recv() => match publication {
                Some(stored) => sockets.publisher.send(publication_of(&stored, dialect)).await.unwrap(),
                None => {
                    sockets.rep.close().await;
                    sockets.publisher.close().await;
                    return;
                }
            },
        }
    }
}

fn answer(world: &mut World, request: &[u8], dialect: Dialect) -> (Bytes, Option<Stored>) {
    let limits = Limits { bytes: 1 << 20, depth: 16, values: 10_000 };
    let (_, request) = decode(request, &limits).unwrap();
    let service = text_in(&request, "service").unwrap();
    let data = get(&request, "data").unwrap().clone();
    let id = match get(&data, "papo_id") {
        Some(Value::Bytes(bytes)) => Some(Identity(bytes.as_ref().try_into().unwrap())),
        _ => None,
    };
    let Some(Value::Int(clock)) = get(&data, "clock") else { panic!("no clock in {data:?}") };
    world.clock.on_receive(Lamport::new(u64::try_from(*clock).unwrap()).unwrap());
    let repeated =
        dialect == Dialect::Papo && id.is_some() && world.heard.iter().any(|(_, heard)| *heard == id);
    world.heard.push((service.clone(), id));
    let field = |key: &str| text_in(&data, key).unwrap_or_default();

    let mut publication = None;
    let mut fields = match service.as_str() {
        "login" => {
            add(&mut world.users, field("user"));
            vec![("status", text("sucesso"))]
        }
        "users" => vec![("users", texts(&world.users))],
        "channels" if dialect == Dialect::Foreign => vec![("users", texts(&world.channels))],
        "channels" => ["channels", "users", "lista"].map(|key| (key, texts(&world.channels))).to_vec(),
        "channel" => {
            add(&mut world.channels, field("channel"));
            vec![("status", text("sucesso"))]
        }
        "publish" | "message" => {
            let direct = service == "message";
            let (user, topic) =
                if direct { (field("src"), field("dst")) } else { (field("user"), field("channel")) };
            if world.channels.contains(&topic) || (direct && world.users.contains(&topic)) {
                if !repeated {
                    let id = id.unwrap_or(Identity([0; 16]));
                    let stored = Stored { topic, user, text: field("message"), direct, id };
                    world.messages.push(stored.clone());
                    publication = Some(stored);
                }
                vec![("status", text("OK"))]
            } else {
                vec![("status", text("erro")), ("message", text(&format!("não existe: {topic}")))]
            }
        }
        "history" if dialect == Dialect::Papo => {
            let (channel, user) = (field("channel"), field("user"));
            let wanted = |stored: &Stored| {
                if channel.is_empty() {
                    stored.direct && (stored.topic == user || stored.user == user)
                } else {
                    stored.topic == channel
                }
            };
            match page(world, text_in(&data, "papo_cursor"), wanted) {
                Some((messages, next)) => vec![
                    ("messages", Value::List(messages.iter().map(|stored| body(stored, dialect)).collect())),
                    ("papo_cursor", text(&format!("{}-{next}", world.epoch))),
                    ("more", Value::Bool(next < world.messages.len())),
                ],
                None => vec![("status", text("erro")), ("code", text("cursor_invalid"))],
            }
        }
        other => panic!("this server knows no service {other} and would hang for good"),
    };
    if let (Dialect::Papo, Some(id)) = (dialect, id) {
        fields.push(("message_id", Value::Bytes(Bytes::copy_from_slice(&id.0))));
    }
    fields.push(("timestamp", Value::Int(1_234_567_890)));
    fields.push(("clock", Value::Int(world.clock.on_send().get().into())));
    let reply = map(vec![("service", text(&service)), ("data", map(fields))]);
    (encode(&reply, Encoding::MessagePack).into(), publication)
}

/// What follows the cursor, `epoch-number`, and the next one's number.
fn page(
    world: &World,
    cursor: Option<String>,
    wanted: impl Fn(&Stored) -> bool,
) -> Option<(Vec<Stored>, usize)> {
    let all = world.messages.iter().cloned().enumerate().filter(|(_, stored)| wanted(stored));
    let Some(cursor) = cursor else {
        return Some((all.map(|(_, stored)| stored).collect(), world.messages.len()));
    };
    let (epoch, number) = cursor.split_once('-')?;
    let (epoch, number): (u64, usize) = (epoch.parse().ok()?, number.parse().ok()?);
    let mut rest: Vec<_> = all.skip_while(|(place, _)| *place < number).collect();
    let next = match rest.get(world.page) {
        Some((place, _)) if world.page > 0 => *place,
        _ => world.messages.len(),
    };
    rest.retain(|(place, _)| *place < next);
    (epoch == world.epoch).then(|| (rest.into_iter().map(|(_, stored)| stored).collect(), next))
}

fn publication_of(stored: &Stored, dialect: Dialect) -> ZmqMessage {
    let body: Bytes = encode(&body(stored, dialect), Encoding::MessagePack).into();
    ZmqMessage::try_from(vec![Bytes::from(stored.topic.clone()), body]).unwrap()
}

fn body(stored: &Stored, dialect: Dialect) -> Value {
    let author = if stored.direct && dialect == Dialect::Foreign { "from" } else { "user" };
    let mut fields = vec![
        (author, text(&stored.user)),
        ("message", text(&stored.text)),
        ("timestamp", Value::Int(1_234_567_890)),
    ];
    if dialect == Dialect::Papo {
        fields.push((if stored.direct { "dst" } else { "channel" }, text(&stored.topic)));
        fields.push(("message_id", Value::Bytes(Bytes::copy_from_slice(&stored.id.0))));
    }
    map(fields)
}

fn add(names: &mut Vec<String>, name: String) {
    if !names.contains(&name) {
        names.push(name);
    }
}

fn map(fields: Vec<(&str, Value)>) -> Value {
    Value::Map(fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn texts(names: &[String]) -> Value {
    Value::List(names.iter().map(|name| text(name)).collect())
}

fn get<'a>(map: &'a Value, key: &str) -> Option<&'a Value> {
    let Value::Map(entries) = map else { return None };
    entries.iter().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn text_in(map: &Value, key: &str) -> Option<String> {
    match get(map, key) {
        Some(Value::Text(text)) => Some(text.clone()),
        _ => None,
    }
}
