//! One client, and its connection to the server.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::sleep,
};

use super::{
    Fate, Shared,
    requests::{Next, Requests},
};

const READ_BYTES: usize = 64 * 1024;

pub(super) struct Connection<'a> {
    shared: &'a Shared,
    /// Answers are read and thrown away from now on.
    swallows: AtomicBool,
}

/// How the way to the server ended.
enum Ending<'a> {
    /// At once.
    Cut,
    /// The server got all and was told so; it closes the connection when it has done all of it.
    Drain { _held: Option<Held<'a>> },
}

impl<'a> Connection<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, swallows: AtomicBool::new(false) }
    }

    /// Forwards until one side is done.
    pub(super) async fn run(&self, mut client: TcpStream, mut server: TcpStream) {
        let (client_reads, client_writes) = client.split();
        let (server_reads, server_writes) = server.split();
        let up = self.up(client_reads, server_writes);
        let down = self.down(server_reads, client_writes);
        tokio::pin!(down);
        tokio::select! {
            ending = up => if let Ok(ending @ Ending::Drain { .. }) = ending {
                down.await;
                drop(ending);
            },
            () = &mut down => {}
        }
    }

    async fn up(&self, mut client: ReadHalf<'_>, mut server: WriteHalf<'_>) -> io::Result<Ending<'a>> {
        let mut requests = Requests::default();
        let mut chunk = vec![0; READ_BYTES];
        let mut held = None;
        'open: loop {
            // A client that resets its connection is as gone as one that closes it.
            let read = client.read(&mut chunk).await.unwrap_or(0);
            if read == 0 {
                break;
            }
            requests.push(&chunk[..read]);
            loop {
                let is_armed = self.shared.settings().fate.is_some();
                let next = requests.next(is_armed);
                self.shared.requests.fetch_add(requests.take_count(), Ordering::Relaxed);
                let frame = match next {
                    Next::Wait => break,
                    Next::Forward(bytes) => {
                        self.write(&mut server, &bytes).await?;
                        continue;
                    }
                    Next::Frame(bytes) => bytes,
                };
                let fate = self.shared.settings().fate.take();
                match fate {
                    None => self.write(&mut server, &frame).await?,
                    Some(Fate::LoseSend) => return Ok(Ending::Cut),
                    Some(Fate::LoseAnswer) => {
                        self.swallows.store(true, Ordering::Relaxed);
                        self.write(&mut server, &frame).await?;
                        server.shutdown().await?;
                        return Ok(Ending::Drain { _held: None });
                    }
                    Some(Fate::Delay) => {
                        let hold = Held::new(&self.shared.held);
                        let is_open = self.hold(&mut client, &mut requests).await;
                        self.write(&mut server, &frame).await?;
                        if !is_open {
                            held = Some(hold);
                            break 'open;
                        }
                    }
                }
            }
        }
        self.write(&mut server, &requests.rest()).await?;
        server.shutdown().await?;
        Ok(Ending::Drain { _held: held })
    }

    /// Waits for the release, and reads on meanwhile; whether the client is still there.
    async fn hold(&self, client: &mut ReadHalf<'_>, requests: &mut Requests) -> bool {
        let mut releases = self.shared.releases.subscribe();
        let mut chunk = vec![0; READ_BYTES];
        let mut is_open = true;
        loop {
            tokio::select! {
                _ = releases.changed() => return is_open,
                read = client.read(&mut chunk), if is_open => match read {
                    Ok(read @ 1..) => requests.push(&chunk[..read]),
                    _ => is_open = false,
                },
            }
        }
    }

    async fn down(&self, mut server: ReadHalf<'_>, mut client: WriteHalf<'_>) {
        let mut chunk = vec![0; READ_BYTES];
        while let Ok(read @ 1..) = server.read(&mut chunk).await {
            if self.swallows.load(Ordering::Relaxed) {
                continue;
            }
            if self.write(&mut client, &chunk[..read]).await.is_err() {
                // The server shall do what is still on its way, whether or not somebody hears of it.
                self.swallows.store(true, Ordering::Relaxed);
            }
        }
        self.flows().await;
    }

    async fn write(&self, to: &mut WriteHalf<'_>, bytes: &[u8]) -> io::Result<()> {
        let delay = self.shared.settings().delay;
        if !delay.is_zero() {
            sleep(delay).await;
        }
        self.flows().await;
        to.write_all(bytes).await
    }

    async fn flows(&self) {
        // The sender is in `shared`, so the channel cannot be closed.
        let _ = self.shared.flows.subscribe().wait_for(|flows| *flows).await;
    }
}

/// Counts a connection that holds something, while it lives.
struct Held<'a>(&'a watch::Sender<usize>);

impl<'a> Held<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|count| *count += 1);
        Self(count)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
