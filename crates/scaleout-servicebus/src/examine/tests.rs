//! Answers that the emulator does not give, written by hand.

use super::*;
use crate::test_server::{Asked, TestServer, answer, entry, feed, refusal};

/// All that is not well.
async fn wrong(server: &TestServer) -> Vec<String> {
    let findings = server.config().examine().await;
    assert!(!findings.iter().any(|finding| finding.to_string().contains("sig=")), "{findings:#?}");
    let wrong = findings.into_iter().filter(|finding| finding.severity != Severity::Ok);
    wrong.map(|finding| finding.to_string()).collect()
}

/// A namespace of a tier, with what else is asked for.
async fn namespace(
    tier: &'static str,
    rest: impl Fn(&Asked) -> Vec<u8> + Send + Sync + 'static,
) -> TestServer {
    TestServer::start(move |asked| match asked.target.starts_with("/$namespaceinfo") {
        true => {
            let said = format!("<MessagingSKU>{tier}</MessagingSKU><Name>x</Name>");
            answer(200, "", &entry("x", "NamespaceInfo", &said))
        }
        false => rest(asked),
    })
    .await
}

fn unasked(asked: &Asked) -> Vec<u8> {
    panic!("nobody asks for this: {}", asked.line())
}

#[tokio::test]
async fn the_tier_without_topics_is_told() {
    let server = namespace("Basic", unasked).await;
    let wrong = wrong(&server).await;
    assert_eq!(wrong.len(), 1, "{wrong:#?}");
    assert!(wrong[0].starts_with("problem: version: ") && wrong[0].contains("Basic"), "{}", wrong[0]);
    assert!(wrong[0].contains("az servicebus namespace update -n <namespace> -g <group> --sku Standard"));
}

#[tokio::test]
async fn a_queue_of_the_name_of_a_topic_is_told() {
    let server = namespace("Standard", |asked| match asked.target.as_str() {
        path if path.starts_with("/scaleout-chat-0?") => {
            answer(200, "", &entry("scaleout-chat-0", "QueueDescription", "<Status>Active</Status>"))
        }
        _ => feed(""),
    })
    .await;
    let wrong = wrong(&server).await;
    let told =
        "problem: layout: the name scaleout-chat-0 belongs to something that is no topic, such as a queue";
    assert!(wrong[0].starts_with(told), "{wrong:#?}");
    assert_eq!(wrong.iter().filter(|text| text.contains("layout")).count(), 1, "{wrong:#?}");
}

#[tokio::test]
async fn a_firewall_is_told_from_a_missing_right() {
    for (detail, told) in [
        ("Ip has been prevented to connect to the endpoint.", "problem: connection: "),
        ("Manage,EntityRead claims required for this operation.", "problem: permissions: "),
        ("SubCode=40100. Unauthorized access for 'GetNamespaceInfo' operation", "problem: permissions: "),
        ("SubCode=40103. Invalid authorization token signature", "problem: login: "),
        ("ExpiredToken: The token is expired.", "problem: login: "),
    ] {
        let server = TestServer::start(move |_| refusal(401, detail)).await;
        let wrong = wrong(&server).await;
        assert!(wrong[0].starts_with(told) && wrong[0].contains(detail), "{wrong:#?}");
    }
}

#[tokio::test]
async fn another_server_is_told() {
    let elsewhere = |_: &Asked| answer(302, "Location: https://login.example/\r\n", "");
    let server = TestServer::start(elsewhere).await;
    let found = wrong(&server).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("problem: connection: ") && found[0].contains("redirects"), "{found:#?}");
    let page = |_: &Asked| answer(200, "", "<html>a page</html>");
    let server = TestServer::start(page).await;
    let found = wrong(&server).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].contains("this is no answer of Service Bus"), "{found:#?}");
}
