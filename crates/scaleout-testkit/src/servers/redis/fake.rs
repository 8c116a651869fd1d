//! A server that is none: of any version, with any clock.

use std::{
    io,
    time::{Duration, SystemTime},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::servers::resp::{Parsed, parse};

/// Answers as a server of some version and with some clock would that holds nothing: for those who examine servers.
///
/// It stores nothing, so that no node can work with it; it ends with this value.
#[derive(Debug)]
pub struct FakeRedis {
    url: String,
    serving: JoinHandle<()>,
}

impl FakeRedis {
    /// Listens on a free port. `info` is all that it says of itself when it is asked `INFO`, and its clock is
    /// `seconds` ahead of the one here, or behind it where that is less than 0.
    ///
    /// # Errors
    /// Where there is no port.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub async fn start(info: &'static str, seconds: i64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("redis://{}", listener.local_addr()?);
        let serving = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, info, seconds));
            }
        });
        Ok(Self { url, serving })
    }

    /// Its URL, without an app.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for FakeRedis {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn serve(mut socket: TcpStream, info: &str, seconds: i64) {
    let mut received = Vec::new();
    while socket.read_buf(&mut received).await.is_ok_and(|count| count > 0) {
        loop {
            let (answer, length) = match parse(&received) {
                Parsed::Request(words, length) => (answer(&words, info, seconds), length),
                Parsed::Incomplete => break,
                Parsed::Foreign => return,
            };
            received.drain(..length);
            if socket.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

fn answer(words: &[&[u8]], info: &str, seconds: i64) -> String {
    let name =
        words.first().map_or_else(String::new, |name| String::from_utf8_lossy(name).to_ascii_uppercase());
    match name.as_str() {
        "INFO" => format!("${}\r\n{info}\r\n", info.len()),
        "TIME" => {
            let by = Duration::from_secs(seconds.unsigned_abs());
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let since = if seconds < 0 { since.saturating_sub(by) } else { since + by };
            let now = since.as_secs().to_string();
            format!("*2\r\n${}\r\n{now}\r\n$1\r\n0\r\n", now.len())
        }
        "SCAN" => "*2\r\n$1\r\n0\r\n*0\r\n".into(),
        "HGETALL" | "XRANGE" | "EXEC" => "*0\r\n".into(),
        "XINFO" => "-ERR no such key\r\n".into(),
        "CLIENT" | "MULTI" | "SELECT" => "+OK\r\n".into(),
        _ => ":0\r\n".into(),
    }
}
