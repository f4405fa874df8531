//! The toy daemon on this library, under its supervisor.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use handover::{
    Connection, Instance, ItemSpec, Lease, LeaseError, Listener, SealedMemfd, Service,
    ServiceError, State, StateWriter,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::store::Store;
use super::{Place, Toy, memory};
use crate::Failure;

const LISTENER: &str = "http";

type Shared = Arc<Mutex<Option<Store>>>;

/// `our-daemon DIRECTORY DELAY_MS PLACE BASE`
pub(crate) async fn daemon(toy: &Toy) -> Result<(), Failure> {
    let instance = Instance::start("bench").await?;
    let listener = instance.tcp(LISTENER, "127.0.0.1:0").await?;
    let directory = toy.directory.join("data");
    let owner = Owner {
        directory: directory.clone(),
        store: Shared::default(),
        listener: Some(listener),
        toy: toy.clone(),
        base: None,
    };
    instance.own(directory, owner).await?;
    instance.retired().await;
    Ok(())
}

async fn accept(mut listener: Listener, lease: Lease, store: Shared) -> Option<()> {
    let address = listener.local_addr().inet()?;
    loop {
        let (connection, _) = listener.accept().await.ok()?;
        let (lease, store) = (lease.clone(), Arc::clone(&store));
        tokio::spawn(async move { serve(connection, &lease, &store, address).await });
        // The first that waited is answered before the last of them is accepted.
        tokio::task::yield_now().await;
    }
}

/// One line asked, one answered, and the connection is over when the client closes it.
async fn serve(
    mut connection: Connection,
    lease: &Lease,
    store: &Shared,
    address: SocketAddr,
) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut line = String::new();
    BufReader::new(&mut connection).read_line(&mut line).await?;
    let answer = if line == super::SLOW {
        tokio::time::sleep(super::SLOW_FOR).await;
        "slow\n".to_owned()
    } else {
        match lease.enter().await {
            Ok(permit) => {
                let number = write(store)?;
                drop(permit);
                format!("{number} {}\n", std::process::id())
            }
            // It waited while the next owner was activated.
            Err(LeaseError::HandedOver) => forward(address, &line).await?,
            Err(error) => return Err(io::Error::other(error)),
        }
    };
    connection.write_all(answer.as_bytes()).await?;
    let _ = connection.read(&mut [0]).await;
    Ok(())
}

fn write(store: &Shared) -> io::Result<u64> {
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    let open = store.as_mut();
    open.ok_or_else(|| io::Error::other("sealed"))?.write()
}

/// Asks whoever accepts at our address now.
async fn forward(address: SocketAddr, line: &str) -> io::Result<String> {
    let mut next = BufReader::new(TcpStream::connect(address).await?);
    next.get_mut().write_all(line.as_bytes()).await?;
    let mut answer = String::new();
    next.read_line(&mut answer).await?;
    Ok(answer)
}

struct Owner {
    directory: PathBuf,
    store: Shared,
    /// Until it serves.
    listener: Option<Listener>,
    toy: Toy,
    base: Option<SealedMemfd>,
}

impl Owner {
    fn open(&self) -> io::Result<()> {
        let store = Store::open(&self.directory)?;
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
        Ok(())
    }
}

impl Service for Owner {
    fn manifest(&self) -> Vec<ItemSpec> {
        ["sent", "base"].map(ItemSpec::required).to_vec()
    }

    async fn base(&mut self, state: &mut StateWriter) -> Result<(), ServiceError> {
        // Both are required, so both are written, however small.
        let base = match &self.base {
            Some(base) => base.try_clone()?,
            None => memory::filled(0)?,
        };
        state.put_value("sent", &memory::now())?;
        Ok(state.put_memfd("base", base)?)
    }

    async fn warm(&mut self, mut base: State) -> Result<(), ServiceError> {
        if let (Some(sent), Some(base)) = (base.take("sent"), base.take("base")) {
            memory::look(base.bytes()?);
            memory::note(&self.toy.directory, sent.value()?)?;
        }
        if self.toy.base > 0 {
            self.base = Some(memory::filled(self.toy.base)?);
        }
        if self.toy.place == Place::Warm {
            tokio::time::sleep(self.toy.delay).await;
        }
        Ok(())
    }

    async fn activate(&mut self, lease: Lease, _state: State) -> Result<(), ServiceError> {
        if self.toy.place == Place::Open {
            tokio::time::sleep(self.toy.delay).await;
        }
        self.open()?;
        // Before it says so, as theirs does; what is accepted now waits for its permit.
        if let Some(listener) = self.listener.take() {
            tokio::spawn(accept(listener, lease, Arc::clone(&self.store)));
        }
        Ok(())
    }

    async fn seal(&mut self, _state: &mut StateWriter) -> Result<(), ServiceError> {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        match store.take() {
            Some(store) => Ok(store.sync()?),
            None => Ok(()),
        }
    }

    async fn resume(&mut self, _lease: Lease) -> Result<(), ServiceError> {
        Ok(self.open()?)
    }
}
