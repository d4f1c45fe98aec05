//! A listener on the wire between the gateway and CrewAI: what passed, in both directions.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Forwards to a port and keeps every byte.
#[derive(Clone)]
pub(crate) struct Tap {
    pub(crate) port: u16,
    asked: Arc<Mutex<Vec<u8>>>,
    answered: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let tap = Self {
            port: listener.local_addr().unwrap().port(),
            asked: Arc::default(),
            answered: Arc::default(),
        };
        let it = tap.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let it = it.clone();
                tokio::spawn(async move {
                    let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let ((near_read, near_write), (far_read, far_write)) =
                        (near.into_split(), far.into_split());
                    tokio::join!(
                        copy(near_read, far_write, &it.asked),
                        copy(far_read, near_write, &it.answered)
                    );
                });
            }
        });
        tap
    }

    /// Everything the gateway sent.
    pub(crate) fn asked(&self) -> String {
        String::from_utf8_lossy(&self.asked.lock().unwrap()).into_owned()
    }

    /// Everything CrewAI answered.
    pub(crate) fn answered(&self) -> String {
        String::from_utf8_lossy(&self.answered.lock().unwrap()).into_owned()
    }

    /// How many kickoffs reached CrewAI.
    pub(crate) fn kickoffs(&self) -> usize {
        self.asked().matches("/kickoff HTTP/1.1\r\n").count()
    }

    /// CrewAI's ids of the runs it started: none of them may reach a caller.
    pub(crate) fn upstream_ids(&self) -> Vec<String> {
        self.answered()
            .split("{\"kickoff_id\":\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next().map(str::to_owned))
            .collect()
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, log: &Mutex<Vec<u8>>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let Some(piece) = buffer.get(..n) else { return };
        log.lock().unwrap().extend_from_slice(piece);
        if to.write_all(piece).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
