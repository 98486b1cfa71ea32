//! A TCP proxy that can refuse, cut and swallow connections, to play a network or a server that fails.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};

/// What the proxy does with connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Passes everything on.
    Pass,
    /// Ends open connections and closes new ones at once, as a server does that is down behind a balancer.
    Refuse,
    /// Keeps connections open and passes nothing on, as a firewall that drops packets.
    Swallow,
}

/// A running proxy. It ends with the value.
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    open: Arc<Mutex<Vec<AbortHandle>>>,
    listener: JoinHandle<()>,
}

impl Proxy {
    /// A proxy on a free port in front of `target` (`HOST:PORT`), passing everything on.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mode = watch::Sender::new(Mode::Pass);
        let open = Arc::<Mutex<Vec<AbortHandle>>>::default();
        let (watched, opened) = (mode.clone(), open.clone());
        let listener = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *watched.borrow() != Mode::Refuse {
                    let relayed = tokio::spawn(relay(client, target.clone(), watched.subscribe()));
                    let mut open = opened.lock().unwrap();
                    open.retain(|relay| !relay.is_finished());
                    open.push(relayed.abort_handle());
                }
            }
        });
        Self { address, mode, open, listener }
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts one of the open connections in the middle of whatever it carries; `choice` is any number.
    ///
    /// # Panics
    /// Never, unless the listener has panicked.
    pub fn cut(&self, choice: u32) {
        let mut open = self.open.lock().unwrap();
        open.retain(|relay| !relay.is_finished());
        if let Some(relay) = (choice as usize).checked_rem(open.len()).and_then(|at| open.get(at)) {
            relay.abort();
        }
    }

    /// Cuts all open connections, those included that were swallowed, as when the server or what is before it starts anew.
    ///
    /// # Panics
    /// As [`Proxy::cut`].
    pub fn cut_all(&self) {
        self.open.lock().unwrap().drain(..).for_each(|relay| relay.abort());
    }

    /// Changes what happens, to open connections as well.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listener.abort();
        self.mode.send_replace(Mode::Refuse);
    }
}

async fn relay(client: TcpStream, target: String, mut mode: watch::Receiver<Mode>) {
    // A swallowed connection is one that the server never hears of.
    if mode.wait_for(|mode| *mode != Mode::Swallow).await.is_err() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let refused = async {
        // An error means that the proxy is gone.
        let _ = mode.clone().wait_for(|mode| *mode == Mode::Refuse).await;
    };
    tokio::select! {
        () = refused => {}
        () = pump(from_client, to_server, mode.clone()) => {}
        () = pump(from_server, to_client, mode.clone()) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if mode.wait_for(|mode| *mode == Mode::Pass).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
