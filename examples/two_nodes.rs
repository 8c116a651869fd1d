//! Two nodes over one store: what one publishes, the other receives.
//!
//! The store is the URL that is given (`redis://127.0.0.1:6379?app=two-nodes`,
//! `sqlserver://user:password@localhost/database?app=two-nodes`), or the connection string (`Endpoint=sb://…;App=two-nodes` of Azure
//! Service Bus), else it is in this process.

use std::time::Duration;

use scaleout::Received;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Where both nodes meet. In one process it can be in memory, by a name that both know; else it is a server.
    let url = std::env::args().nth(1).unwrap_or("memory:two-nodes".into());
    let alpha = scaleout::connect(&url).await?;
    let beta = scaleout::connect(&url).await?;

    let mut subscription = beta.subscribe(["room:42", "user:7"]);
    alpha.publish("room:42", "hello").await?;
    alpha.publish("room:43", "nobody listens").await?;
    alpha.publish("user:7", "just for you").await?;
    alpha.publish("room:42", "goodbye").await?;

    // A channel has one order on all nodes. Channels may lie on different streams, which have none among them.
    let mut received = Vec::new();
    while received.len() < 3 {
        let next = tokio::time::timeout(Duration::from_secs(5), subscription.recv()).await?;
        match next.ok_or("the bus closed")? {
            Received::Message(message) => {
                let text = String::from_utf8(message.payload().to_vec())?;
                println!(
                    "{} received {text:?} on {} from {}",
                    beta.node(),
                    message.channel(),
                    message.node()
                );
                received.push((message.channel().to_owned(), text));
            }
            Received::Gap(gap) => return Err(format!("something is missing: {}", gap.reason()).into()),
        }
    }

    let in_room: Vec<_> =
        received.iter().filter(|(channel, _)| channel == "room:42").map(|(_, text)| text).collect();
    if in_room != ["hello", "goodbye"] {
        return Err(format!("not what was published: {received:?}").into());
    }
    for bus in [alpha, beta] {
        bus.close(Duration::from_secs(5)).await;
    }
    Ok(())
}
