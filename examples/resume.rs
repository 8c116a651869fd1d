//! A client loses its node and goes on at another, with the cursor of what it has seen.
//!
//! The store is the URL that is given (`redis://127.0.0.1:6379?app=resume`,
//! `sqlserver://user:password@localhost/database?app=resume`), or the connection string (`Endpoint=sb://…;App=resume` of Azure
//! Service Bus), else it is in this process.

use std::time::Duration;

use scaleout::{Cursor, Received, Subscription};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).unwrap_or("memory:resume".into());
    let alpha = scaleout::connect(&url).await?;
    let beta = scaleout::connect(&url).await?;

    // The client is on alpha, and keeps the cursor of the last message it saw, as text.
    let mut on_alpha = alpha.subscribe(["room:42"]);
    let mut seen = Vec::new();
    for text in ["one", "two", "three"] {
        beta.publish("room:42", text).await?;
    }
    let mut cursor = String::new();
    for _ in 0..2 {
        let (text, at) = next(&mut on_alpha).await?;
        println!("on alpha: {text:?}, cursor {at}");
        seen.push(text);
        cursor = at;
    }

    // Alpha goes away before the client saw "three"; more is said meanwhile.
    alpha.close(Duration::from_secs(5)).await;
    println!("alpha is closed");
    beta.publish("room:42", "four").await?;

    // Positions are the same on every node, so the text means the same to beta.
    let mut on_beta = beta.resume(["room:42"], &cursor.parse::<Cursor>()?);
    for _ in 0..2 {
        let (text, at) = next(&mut on_beta).await?;
        println!("on beta: {text:?}, cursor {at}");
        seen.push(text);
    }

    if seen != ["one", "two", "three", "four"] {
        return Err(format!("each message once, in order, was expected: {seen:?}").into());
    }
    beta.close(Duration::from_secs(5)).await;
    Ok(())
}

/// The next message's text, and its cursor; a gap would be something missing, and is an error here.
async fn next(subscription: &mut Subscription) -> Result<(String, String), Box<dyn std::error::Error>> {
    let next = tokio::time::timeout(Duration::from_secs(5), subscription.recv()).await?;
    match next.ok_or("the bus closed")? {
        Received::Message(message) => {
            Ok((String::from_utf8(message.payload().to_vec())?, message.cursor().to_string()))
        }
        Received::Gap(gap) => Err(format!("something is missing: {}", gap.reason()).into()),
    }
}
