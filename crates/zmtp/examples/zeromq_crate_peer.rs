//! A socket of the `zeromq` crate as a program, for the interop tests, by the contract in `tests/interop/python/socket_peers.py`.

use bytes::Bytes;
use std::{error::Error, time::Duration};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use zeromq::{Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

type Failure = Box<dyn Error>;

const TOPIC: &str = "news";
const PROBE: &str = "probe";
const DEALER_WINDOW: usize = 50;
/// Before trying again what the library refuses while it has no connection.
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // The heartbeat is left out: the crate has none.
    let [kind, verb, address, _] = arguments.as_slice() else {
        return Err("usage: zeromq_crate_peer TYPE listen|connect HOST:PORT HEARTBEAT_MS".into());
    };
    let place = Place { listens: verb == "listen", endpoint: format!("tcp://{address}") };
    match kind.as_str() {
        "REQ" => ask(place.socket::<zeromq::ReqSocket>().await?, 1).await,
        "DEALER" => ask(place.socket::<zeromq::DealerSocket>().await?, DEALER_WINDOW).await,
        "REP" => answer(place.socket::<zeromq::RepSocket>().await?).await,
        "ROUTER" => answer(place.socket::<zeromq::RouterSocket>().await?).await,
        "PUB" => publish(place.socket::<zeromq::PubSocket>().await?).await,
        "SUB" => {
            let mut socket: SubSocket = place.socket().await?;
            socket.subscribe(TOPIC).await?;
            hear(socket).await
        }
        _ => Err("no such socket type".into()),
    }
}

struct Place {
    listens: bool,
    endpoint: String,
}

impl Place {
    async fn socket<S: Socket>(&self) -> Result<S, Failure> {
        let mut socket = S::new();
        if self.listens {
            socket.bind(&self.endpoint).await?;
        } else {
            socket.connect(&self.endpoint).await?;
        }
        println!("ready");
        Ok(socket)
    }
}

/// What the tests want done.
enum Order {
    Go { count: usize, bytes: usize },
    Probe,
}

struct Orders(Lines<BufReader<Stdin>>);

impl Orders {
    fn new() -> Self {
        Self(BufReader::new(tokio::io::stdin()).lines())
    }

    async fn next(&mut self) -> Result<Option<Order>, Failure> {
        let Some(order) = self.0.next_line().await? else { return Ok(None) };
        match order.split(' ').collect::<Vec<_>>().as_slice() {
            ["go", count, bytes] => Ok(Some(Order::Go { count: count.parse()?, bytes: bytes.parse()? })),
            ["probe"] => Ok(Some(Order::Probe)),
            _ => Err(format!("not an order: {order}").into()),
        }
    }
}

/// Asks again what came to nothing, as the crate wants it: its sockets notice that a peer has gone only while they receive.
async fn ask(mut socket: impl SocketSend + SocketRecv, window: usize) -> Result<(), Failure> {
    let is_dealer = window > 1;
    let mut orders = Orders::new();
    loop {
        let order = tokio::select! {
            order = orders.next() => order?,
            _ = socket.recv(), if is_dealer => continue,
        };
        let (count, bytes) = match order {
            Some(Order::Go { count, bytes }) => (count, bytes),
            Some(Order::Probe) => return Err("nobody to probe".into()),
            None => return Ok(()),
        };
        let question = |number| {
            let question = body(number, count, bytes);
            message(if is_dealer { vec![Bytes::new(), question] } else { vec![question] })
        };
        let mut answered = 0;
        while answered < count {
            let last = count.min(answered + window);
            for number in answered + 1..=last {
                tell(&mut socket, question(number)?).await;
            }
            while answered < last {
                let Ok(answer) = socket.recv().await else {
                    if !is_dealer {
                        tell(&mut socket, question(last)?).await;
                    }
                    continue;
                };
                answered += 1;
                if answer.into_vec().last() != Some(&body(answered, count, bytes)) {
                    return Err(format!("answer {answered} of {count} is another, or changed").into());
                }
            }
        }
        println!("ok {count}");
    }
}

/// A socket enters a link a moment after its handshake, and until then gives messages back.
async fn tell(socket: &mut impl SocketSend, message: ZmqMessage) {
    while socket.send(message.clone()).await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
}

async fn answer(mut socket: impl SocketSend + SocketRecv) -> Result<(), Failure> {
    loop {
        // An error tells of a peer that left.
        match socket.recv().await {
            Ok(question) => socket.send(question).await?,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn publish(mut socket: impl SocketSend) -> Result<(), Failure> {
    let mut orders = Orders::new();
    while let Some(order) = orders.next().await? {
        let bodies = match order {
            Order::Probe => vec![Bytes::from_static(PROBE.as_bytes())],
            Order::Go { count, bytes } => (1..=count).map(|number| body(number, count, bytes)).collect(),
        };
        for body in bodies {
            socket.send(message(vec![Bytes::from_static(TOPIC.as_bytes()), body])?).await?;
        }
    }
    Ok(())
}

async fn hear(mut socket: impl SocketRecv) -> Result<(), Failure> {
    let mut heard = 0;
    loop {
        let Ok(message) = socket.recv().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let frames = message.into_vec();
        let [topic, message] = frames.as_slice() else {
            return Err(format!("{} frames", frames.len()).into());
        };
        if topic != TOPIC {
            return Err(format!("topic {topic:?}").into());
        }
        if message == PROBE {
            println!("probe");
            continue;
        }
        let start: Vec<_> = message.splitn(3, |byte| *byte == b' ').collect();
        let count =
            start.get(1).and_then(|count| std::str::from_utf8(count).ok()).ok_or("no count")?.parse()?;
        heard += 1;
        if *message != body(heard, count, message.len()) {
            return Err(format!("message {heard} of {count} is another, or changed").into());
        }
        if heard == count {
            println!("ok {count}");
            heard = 0;
        }
    }
}

fn message(frames: Vec<Bytes>) -> Result<ZmqMessage, Failure> {
    ZmqMessage::try_from(frames).map_err(|_| "a message has frames".into())
}

fn body(number: usize, count: usize, bytes: usize) -> Bytes {
    let start = format!("{number} {count} ").into_bytes();
    let letter = u8::try_from(number % 26).map_or(b'z', |offset| b'a' + offset);
    let rest = vec![letter; bytes.saturating_sub(start.len())];
    [start, rest].concat().into()
}
