//! What the tests share: instances without an environment, and conditions with a deadline.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

pub mod coordinator;
pub mod side;
pub mod store;

use std::future::Future;
use std::time::Duration;

use handover::{Address, Connection, Inheritance, Instance, Ladder, Listener};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Long enough for the slowest machine; only a failing test waits for it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A ladder step that never ends within a test.
pub const NEVER: Duration = Duration::from_secs(3600);

/// The future's value, or a failure that names what never came.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("never happened: {what}"),
    }
}

/// Waits until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// An instance that inherits what is given and nothing else.
pub async fn instance_of(inheritance: Inheritance) -> Instance {
    let builder = Instance::builder("test").signals(false);
    builder.inherit(inheritance).start().await.unwrap()
}

/// An instance that inherits nothing.
pub async fn instance() -> Instance {
    instance_of(Inheritance::default()).await
}

/// A ladder of notify and grace.
pub fn ladder(notify: Duration, grace: Duration) -> Ladder {
    Ladder {
        announce: Duration::ZERO,
        notify,
        grace,
    }
}

/// The Internet address of a listener.
pub fn inet(listener: &Listener) -> std::net::SocketAddr {
    listener.local_addr().inet().unwrap()
}

/// A client's end and the accepted end.
pub async fn pair(listener: &mut Listener) -> (TcpStream, Connection) {
    let (client, accepted) = tokio::join!(TcpStream::connect(inet(listener)), listener.accept());
    let (connection, peer): (Connection, Address) = accepted.unwrap();
    let client = client.unwrap();
    assert_eq!(peer.port(), Some(client.local_addr().unwrap().port()));
    (client, connection)
}

/// Sends `text` and reads until as much has come back.
pub async fn echo(client: &mut TcpStream, connection: &mut Connection, text: &[u8]) {
    let mut buffer = vec![0; text.len()];
    client.write_all(text).await.unwrap();
    connection.read_exact(&mut buffer).await.unwrap();
    connection.write_all(&buffer).await.unwrap();
    client.read_exact(&mut buffer).await.unwrap();
    assert_eq!(buffer, text);
}
