//! A server of HTTP whose answers a test writes by hand.

use std::sync::{Arc, Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::{config::ServiceBusConfig, token::Credential};

/// It ends with the value.
#[derive(Debug)]
pub(crate) struct TestServer {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    /// In lower case, with the line of the request.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Asked {
    /// `GET /path?query`
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

impl TestServer {
    /// Answers each request with what `answer` makes of it, which is the whole answer as it goes over the wire.
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&asked);
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
                tokio::spawn(async move {
                    let _ = serve(stream, &all, answer.as_ref()).await;
                });
            }
        });
        Self { url, asked, task }
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no test panics with it").clone()
    }

    /// `GET /path?query` of all requests so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }

    /// Settings for this server, with short delays.
    pub(crate) fn config(&self) -> ServiceBusConfig {
        let app = "chat".parse().expect("a good name");
        let short = std::time::Duration::from_millis(1);
        ServiceBusConfig::new(app, "127.0.0.1", Credential::shared_access_key("root", "key"))
            .with_management_endpoint(&self.url)
            .with_node_label("here")
            .with_min_backoff(short)
            .with_max_backoff(short)
            .with_start_jitter(short)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An answer with a status, header lines and a body.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} Any\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

/// A refusal in the form of Service Bus.
pub(crate) fn refusal(status: u16, detail: &str) -> Vec<u8> {
    answer(status, "", &format!("<Error><Code>{status}</Code><Detail>{detail}</Detail></Error>"))
}

/// An entry of ATOM with a description of these fields.
pub(crate) fn entry(title: &str, description: &str, fields: &str) -> String {
    format!(
        "<entry xmlns=\"http://www.w3.org/2005/Atom\"><id>sb://x/{title}</id><title type=\"text\">{title}</title>\
         <content type=\"application/xml\"><{description} \
         xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\" \
         xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\">{fields}</{description}></content></entry>"
    )
}

/// A feed of ATOM.
pub(crate) fn feed(entries: &str) -> Vec<u8> {
    let body = format!(
        "<feed xmlns=\"http://www.w3.org/2005/Atom\"><title type=\"text\">Publicly Listed Services</title>{entries}</feed>"
    );
    answer(200, "", &body)
}

async fn serve(
    mut stream: TcpStream,
    all: &Mutex<Vec<Asked>>,
    make: &(dyn Fn(&Asked) -> Vec<u8> + Send + Sync),
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let asked = loop {
        if let Some(asked) = read(&bytes) {
            break asked;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    all.lock().expect("no test panics with it").push(asked.clone());
    let answer = make(&asked);
    stream.write_all(&answer).await?;
    stream.shutdown().await
}

fn read(bytes: &[u8]) -> Option<Asked> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut words = head.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let lower = head.to_lowercase();
    let length = lower
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.trim().parse().expect("a length"));
    (body.len() >= length).then(|| Asked { method, target, head: lower.clone(), body: body.to_owned() })
}
