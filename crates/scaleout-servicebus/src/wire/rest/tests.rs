use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

use super::*;
use crate::{
    test_server::{Asked, TestServer, answer, refusal},
    token::Credential,
};

/// What the service says of a message; the server of these tests closes each connection behind its answer.
fn message(status: u16, number: u64, url: &str, body: &str) -> Vec<u8> {
    let properties = format!(
        "BrokerProperties: {{\"DeliveryCount\":1,\"EnqueuedSequenceNumber\":{number},\"EnqueuedTimeUtc\":\"Sat, 21 Nov \
         2026 21:39:27 GMT\",\"LockToken\":\"t\",\"LockedUntilUtc\":\"Sat, 21 Nov 2026 21:39:32 GMT\",\"MessageId\":\"m{number}\",\
         \"SequenceNumber\":1,\"State\":\"Active\",\"TimeToLive\":300}}\r\nLocation: \
         {url}/topic/subscriptions/node/messages/1/lock-{number}\r\n"
    );
    answer(status, &properties, body)
}

async fn server(answer: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static) -> (TestServer, Rest) {
    let server = TestServer::start(answer).await;
    let rest = rest(&server.config().with_operation_timeout(Duration::from_secs(30)));
    (server, rest)
}

fn rest(config: &ServiceBusConfig) -> Rest {
    Rest::new(config, Arc::new(Tokens::new(config)), &NodeTls::of(config)).expect("good settings")
}

fn outgoing() -> Outgoing {
    Outgoing { message_id: "an id".into(), payload: Bytes::from_static(b"raw \x00 bytes") }
}

async fn send(rest: &Rest) -> Result<Answer, Failure> {
    rest.outlet("topic").await?.send(outgoing()).await
}

async fn refused(status: u16, detail: &str) -> Failure {
    let detail = detail.to_owned();
    let (_server, rest) = server(move |_| refusal(status, &detail)).await;
    match send(&rest).await {
        Ok(Answer::Refused(failure)) | Err(failure) => failure,
        Ok(Answer::Accepted) => panic!("status {status} is taken for success"),
    }
}

/// Gives the messages first, then waits for ever.
async fn messages(status: u16, numbers: &[u64]) -> (TestServer, Rest) {
    let waiting: Mutex<VecDeque<u64>> = Mutex::new(numbers.iter().copied().collect());
    server(move |asked| match asked.line().as_str() {
        line if line.contains("/messages/head") => {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            next.map_or_else(
                || answer(204, "", ""),
                |number| message(status, number, "https://elsewhere:1", "body"),
            )
        }
        _ => answer(200, "", ""),
    })
    .await
}

async fn receive(inlet: &mut dyn Inlet, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(inlet.receive(64).await.expect("messages"));
    }
    all
}

#[tokio::test]
async fn a_message_is_sent_as_it_is_to_our_endpoint_with_our_token() {
    let (server, rest) = server(|_| answer(201, "", "")).await;
    assert!(matches!(send(&rest).await, Ok(Answer::Accepted)));
    let asked = server.asked();
    assert_eq!(asked.iter().map(Asked::line).collect::<Vec<_>>(), ["POST /topic/messages"]);
    assert_eq!(asked[0].body.as_bytes(), &outgoing().payload);
    for line in [
        &format!("host: {}", server.url.trim_start_matches("http://")),
        r#"brokerproperties: {"messageid":"an id"}"#,
        "content-type: application/octet-stream",
        "content-length: 11",
        "authorization: sharedaccesssignature sr=sb%3a%2f%2f127.0.0.1%2f&",
    ] {
        assert_eq!(asked[0].head.matches(line).count(), 1, "{line} is not in {}", asked[0].head);
    }
    assert_eq!(asked[0].head.matches("authorization").count(), 1);
}

#[tokio::test]
async fn a_refusal_is_told_as_what_it_is() {
    assert!(matches!(refused(401, "no").await, Failure::Unauthorized(said) if said == "no"));
    assert!(matches!(refused(403, "the claim Send is missing").await, Failure::Unauthorized(_)));
    assert!(matches!(
        refused(403, "SubCode=40301. The quota is exceeded").await,
        Failure::Http { status: 403, .. }
    ));
    for status in [403, 413] {
        let said =
            "The received message (size: 262145 bytes) exceeds the limit (262144 bytes) currently allowed.";
        let failure = refused(status, said).await;
        assert!(
            matches!(&failure, Failure::Amqp { condition, .. } if condition == "amqp:link:message-size-exceeded"),
            "{failure:?}"
        );
    }
    for status in [404, 410] {
        assert!(matches!(refused(status, "gone").await, Failure::NotFound(entity) if entity == "topic"));
    }
    for status in [429, 503] {
        let failure = refused(status, "Error code : 50009. Please wait 2 seconds and try again.").await;
        assert!(failure.is_busy() && failure.asked_wait() == Some(Duration::from_secs(2)), "{failure:?}");
    }
    assert!(matches!(refused(500, "oh").await, Failure::Http { status: 500, .. }));
    assert!(matches!(refused(301, "").await, Failure::Foreign(_)));
}

#[tokio::test]
async fn what_is_no_answer_is_told() {
    let (_server, garbled) = server(|_| b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()).await;
    assert!(matches!(send(&garbled).await, Err(Failure::Foreign(_))));
    let (_server, silent) = server(|_| Vec::new()).await;
    assert!(matches!(send(&silent).await, Err(Failure::Io(_) | Failure::Closed)));
    let (server, rest) = server(|_| answer(201, "", "")).await;
    drop(server);
    tokio::task::yield_now().await;
    assert!(matches!(rest.outlet("topic").await.map(drop), Err(Failure::Io(_)) | Ok(())));
}

#[tokio::test]
async fn a_message_is_locked_handed_out_and_deleted_and_its_id_may_be_large() {
    let ids = [1, i32::MAX as u64 + 1, i64::MAX as u64];
    let (server, rest) = messages(201, &ids).await;
    let mut inlet = rest.inlet("topic", "node", Reception::PeekLock).await.expect("an inlet");
    let received = receive(inlet.as_mut(), 3).await;
    assert_eq!(received.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), ids);
    for delivery in &received {
        assert_eq!(delivery.message_id, Some(format!("m{}", delivery.id)));
        assert_eq!(delivery.payload, "body");
    }
    inlet.close(Duration::from_secs(60)).await;
    let lines = server.lines();
    // The location names another host, which gets no token of ours.
    for id in ids {
        let deletion = format!("DELETE /topic/subscriptions/node/messages/1/lock-{id}");
        assert_eq!(lines.iter().filter(|line| **line == deletion).count(), 1, "{lines:?}");
    }
    assert_eq!(lines[0], "POST /topic/subscriptions/node/messages/head?timeout=30");
}

#[tokio::test]
async fn receive_and_delete_is_one_request_for_a_message() {
    let (server, rest) = messages(200, &[7, 8]).await;
    let mut inlet = rest.inlet("topic", "node", Reception::ReceiveAndDelete).await.expect("an inlet");
    let received = receive(inlet.as_mut(), 2).await;
    assert_eq!(received.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), [7, 8]);
    inlet.close(Duration::from_secs(60)).await;
    let head = "DELETE /topic/subscriptions/node/messages/head?timeout=30";
    assert!(server.lines().iter().all(|line| line == head), "{:?}", server.lines());
}

#[tokio::test]
async fn what_came_before_a_failure_is_handed_out_before_it() {
    let answers = Mutex::new(VecDeque::from([
        message(201, 1, "http://x", "one"),
        answer(204, "", ""),
        message(201, 2, "http://x", "two"),
        refusal(410, "gone"),
    ]));
    let (_server, rest) = server(move |asked| match asked.method.as_str() {
        "POST" => answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or_default(),
        _ => answer(200, "", ""),
    })
    .await;
    let mut inlet = rest.inlet("topic", "node", Reception::PeekLock).await.expect("an inlet");
    assert_eq!(receive(inlet.as_mut(), 2).await.len(), 2);
    let failure = inlet.receive(64).await.expect_err("the subscription is gone");
    assert!(
        matches!(&failure, Failure::NotFound(entity) if entity == "topic/subscriptions/node"),
        "{failure:?}"
    );
    assert!(matches!(inlet.receive(64).await, Err(Failure::Closed)));
}

#[tokio::test]
async fn an_answer_that_is_no_message_is_told() {
    for answered in [answer(201, "", "no properties"), answer(200, "BrokerProperties: {}\r\n", "no id")] {
        let (_server, rest) = server(move |_| answered.clone()).await;
        let mut inlet = rest.inlet("topic", "node", Reception::PeekLock).await.expect("an inlet");
        assert!(matches!(inlet.receive(64).await, Err(Failure::Foreign(_))));
    }
}

#[tokio::test]
async fn a_token_of_any_kind_is_shown() {
    let ready = "SharedAccessSignature sr=sb%3a%2f%2f127.0.0.1%2f&sig=x&se=9999999999&skn=root";
    let server = TestServer::start(|_| answer(201, "", "")).await;
    let config = server.config().with_credential(Credential::SharedAccessSignature(ready.into()));
    assert!(matches!(send(&rest(&config)).await, Ok(Answer::Accepted)));
    let head = &server.asked()[0].head;
    assert!(head.contains(&format!("authorization: {}", ready.to_lowercase())), "{head}");
}
