use std::{
    collections::VecDeque,
    sync::{Mutex, atomic::AtomicU32},
    time::{Duration, SystemTime},
};

use futures_util::future::{BoxFuture, FutureExt};
use scaleout_core::ErrorKind;

use super::*;
use crate::{
    test_server::{Asked, TestServer, answer, entry, feed, refusal},
    token::{AccessToken, Credential, TokenProvider},
};

/// A server that gives these answers in turn, and one that asks for it.
async fn server(answers: impl IntoIterator<Item = Vec<u8>>) -> (TestServer, Management) {
    let answers: Mutex<VecDeque<_>> = Mutex::new(answers.into_iter().collect());
    let server = TestServer::start(move |_| answers.lock().unwrap().pop_front().unwrap_or_default()).await;
    let management = management(&server.config());
    (server, management)
}

fn management(config: &ServiceBusConfig) -> Management {
    Management::new(config, Arc::new(Tokens::new(config)), &NodeTls::of(config)).expect("good settings")
}

fn topic_spec() -> TopicSpec {
    TopicSpec {
        message_ttl: Duration::from_secs(300),
        max_megabytes: 1_024,
        duplicate_window: Duration::from_secs(3_600),
        max_message_kilobytes: None,
    }
}

fn subscription_spec() -> SubscriptionSpec {
    SubscriptionSpec {
        lock_duration: Duration::from_secs(5),
        message_ttl: Duration::from_secs(300),
        max_delivery_count: 2_000,
        idle_expiry: Duration::from_secs(600),
    }
}

const TOPIC: &str = "<MaxSizeInMegabytes>1024</MaxSizeInMegabytes><RequiresDuplicateDetection>true\
    </RequiresDuplicateDetection><DuplicateDetectionHistoryTimeWindow>PT1H</DuplicateDetectionHistoryTimeWindow>\
    <Status>Active</Status><CreatedAt>2026-11-21T21:39:27.1234567Z</CreatedAt>\
    <EnablePartitioning>false</EnablePartitioning><MaxMessageSizeInKilobytes>256</MaxMessageSizeInKilobytes>";

fn topic_answer(fields: &str) -> Vec<u8> {
    answer(200, "", &entry("t", "TopicDescription", fields))
}

#[tokio::test]
async fn a_topic_is_created_by_a_description_in_the_order_of_the_contract() {
    let created = || answer(201, "", &entry("t", "TopicDescription", ""));
    let (server, management) = server([created(), created()]).await;
    assert_eq!(management.create_topic("scaleout-chat-0", &topic_spec()).await.unwrap(), Created::New);
    let large = TopicSpec { max_message_kilobytes: Some(2_048), ..topic_spec() };
    assert_eq!(management.create_topic("t", &large).await.unwrap(), Created::New);
    let asked = server.asked();
    assert_eq!(asked[0].line(), "PUT /scaleout-chat-0?api-version=2021-05");
    assert!(asked[0].head.contains("content-type: application/atom+xml;type=entry;charset=utf-8"));
    assert!(asked[0].head.contains("authorization: sharedaccesssignature sr=sb%3a%2f%2f127.0.0.1%2f&sig="));
    assert_eq!(
        asked[0].body,
        "<entry xmlns=\"http://www.w3.org/2005/Atom\"><content type=\"application/xml\"><TopicDescription \
         xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\">\
         <DefaultMessageTimeToLive>PT5M</DefaultMessageTimeToLive><MaxSizeInMegabytes>1024</MaxSizeInMegabytes>\
         <RequiresDuplicateDetection>true</RequiresDuplicateDetection>\
         <DuplicateDetectionHistoryTimeWindow>PT1H</DuplicateDetectionHistoryTimeWindow>\
         <EnableBatchedOperations>true</EnableBatchedOperations><Status>Active</Status>\
         <SupportOrdering>true</SupportOrdering><EnablePartitioning>false</EnablePartitioning>\
         <EnableExpress>false</EnableExpress></TopicDescription></content></entry>"
    );
    let last = "<EnableExpress>false</EnableExpress><MaxMessageSizeInKilobytes>2048</MaxMessageSizeInKilobytes></Topic";
    assert!(asked[1].body.contains(last));
}

#[tokio::test]
async fn a_subscription_is_created_by_a_description_in_the_order_of_the_contract() {
    let created = answer(201, "", &entry("s", "SubscriptionDescription", ""));
    let (server, management) = server([created]).await;
    let outcome = management.create_subscription("t", "web-1", &subscription_spec()).await.unwrap();
    assert_eq!(outcome, Created::New);
    let asked = server.asked();
    assert_eq!(asked[0].line(), "PUT /t/subscriptions/web-1?api-version=2021-05");
    assert_eq!(
        asked[0].body,
        "<entry xmlns=\"http://www.w3.org/2005/Atom\"><content type=\"application/xml\"><SubscriptionDescription \
         xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\">\
         <LockDuration>PT5S</LockDuration><RequiresSession>false</RequiresSession>\
         <DefaultMessageTimeToLive>PT5M</DefaultMessageTimeToLive>\
         <DeadLetteringOnMessageExpiration>false</DeadLetteringOnMessageExpiration>\
         <DeadLetteringOnFilterEvaluationExceptions>false</DeadLetteringOnFilterEvaluationExceptions>\
         <MaxDeliveryCount>2000</MaxDeliveryCount><EnableBatchedOperations>true</EnableBatchedOperations>\
         <Status>Active</Status><AutoDeleteOnIdle>PT10M</AutoDeleteOnIdle></SubscriptionDescription></content></entry>"
    );
}

#[tokio::test]
async fn what_exists_is_no_failure_and_a_missing_topic_is_one() {
    let (_server, management) = server([
        refusal(409, "SubCode=40900. Conflict."),
        refusal(409, "SubCode=40901. Another conflicting operation is in progress."),
        refusal(404, "SubCode=40400. Not Found."),
        answer(201, "", ""),
    ])
    .await;
    assert_eq!(management.create_topic("t", &topic_spec()).await.unwrap(), Created::Exists);
    assert!(management.create_topic("t", &topic_spec()).await.unwrap_err().is_busy());
    let missing = management.create_subscription("t", "s", &subscription_spec()).await.unwrap_err();
    assert!(matches!(missing, Failure::NotFound(what) if what == "topic t"));
    // What comes with it does not matter.
    assert_eq!(management.create_topic("t", &topic_spec()).await.unwrap(), Created::New);
}

#[tokio::test]
async fn a_topic_is_read() {
    let (server, management) = server([topic_answer(TOPIC)]).await;
    let info = management.topic("scaleout-chat-0").await.unwrap().expect("it is there");
    assert_eq!(
        info,
        TopicInfo {
            name: "scaleout-chat-0".into(),
            created_at_micros: 1_795_297_167_123_456,
            is_partitioned: false,
            detects_duplicates: true,
            duplicate_window: Some(Duration::from_secs(3_600)),
            status: "Active".into(),
            message_ttl: None,
            max_megabytes: Some(1_024),
            contents: topics::Contents::default(),
        }
    );
    assert_eq!(server.lines(), ["GET /scaleout-chat-0?api-version=2021-05&enrich=False"]);
}

#[tokio::test]
async fn nothing_there_is_a_404_or_an_empty_feed() {
    let (_server, management) =
        server([refusal(404, "SubCode=40400."), feed(""), feed(""), refusal(404, "")]).await;
    assert_eq!(management.topic("t").await.unwrap(), None);
    assert_eq!(management.topic("t").await.unwrap(), None);
    assert_eq!(management.subscription("t", "s").await.unwrap(), None);
    assert_eq!(management.subscription("t", "s").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_no_description_of_a_topic_is_foreign() {
    let time = "<CreatedAt>2026-11-21T21:39:27Z</CreatedAt>";
    let wrong = [
        topic_answer(""),
        topic_answer("<CreatedAt>0001-01-01T00:00:00</CreatedAt>"),
        topic_answer(&format!("{time}<EnablePartitioning>maybe</EnablePartitioning>")),
        topic_answer(&format!("{time}<RequiresDuplicateDetection/>")),
        answer(200, "", &entry("t", "QueueDescription", time)),
        answer(200, "", "<entry><content/></entry>"),
        answer(200, "", "<html><body>Welcome</body></html>"),
        answer(200, "", "<!DOCTYPE entry><entry/>"),
        answer(200, "", ""),
        feed(&entry("t", "TopicDescription", time)),
        answer(302, "Location: http://example.com/\r\n", ""),
    ];
    let count = wrong.len();
    let (server, management) = server(wrong).await;
    for index in 0..count {
        let failure = management.topic("t").await.expect_err(&index.to_string());
        assert!(matches!(failure, Failure::Foreign(_)), "{index}: {failure:?}");
    }
    assert_eq!(server.lines().len(), count, "no redirect is followed");
}

#[tokio::test]
async fn an_answer_is_bounded_and_must_be_http() {
    let long = format!("<a>{}</a>", " ".repeat(1 << 20));
    let endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let endless = [endless, b"10000\r\n".to_vec(), vec![b' '; 0x10000], b"\r\n".to_vec()].concat();
    let (_server, management) =
        server([answer(200, "", &long), b"220 mail.example ESMTP\r\n".to_vec(), endless, Vec::new()]).await;
    assert!(matches!(management.topic("t").await, Err(Failure::Foreign(what)) if what.contains("1 MiB")));
    assert!(matches!(management.topic("t").await, Err(Failure::Foreign(what)) if what.contains("HTTP")));
    assert!(matches!(management.topic("t").await, Err(Failure::Io(_))), "cut in the middle");
    assert!(matches!(management.topic("t").await, Err(Failure::Io(_))), "nothing at all");
}

#[tokio::test]
async fn silence_times_out() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = "chat".parse().unwrap();
    let config = ServiceBusConfig::new(app, "127.0.0.1", Credential::shared_access_key("n", "k"))
        .with_management_endpoint(url)
        .with_operation_timeout(Duration::from_millis(100));
    let failure = management(&config).topic("t").await.unwrap_err();
    assert!(matches!(failure, Failure::TimedOut { after } if after == Duration::from_millis(100)));
    drop(listener);
    let failure = management(&config).topic("t").await.unwrap_err();
    assert!(matches!(failure, Failure::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused));
}

#[tokio::test]
async fn deleting_tells_whether_there_was_something() {
    let (server, management) =
        server([answer(200, "", ""), refusal(404, ""), answer(200, "", ""), refusal(500, "oh")]).await;
    assert!(management.delete_subscription("t", "s").await.unwrap());
    assert!(!management.delete_subscription("t", "s").await.unwrap());
    assert!(management.delete_topic("a/b c").await.unwrap());
    let failure = management.delete_topic("t").await.unwrap_err();
    assert!(matches!(failure, Failure::Http { status: 500, .. }));
    assert_eq!(
        server.lines(),
        [
            "DELETE /t/subscriptions/s?api-version=2021-05",
            "DELETE /t/subscriptions/s?api-version=2021-05",
            "DELETE /a%2Fb%20c?api-version=2021-05",
            "DELETE /t?api-version=2021-05",
        ]
    );
}

#[tokio::test]
async fn topics_are_listed_page_by_page() {
    let page = |asked: &Asked| {
        let skip: usize = asked
            .target
            .split_once("$skip=")
            .and_then(|(_, rest)| rest.split_once('&'))
            .and_then(|(skip, _)| skip.parse().ok())
            .expect("a page");
        let titles = (skip..(skip + 100).min(250)).map(|index| format!("Scaleout-chat-{index}"));
        let other = std::iter::once("another".to_owned()).filter(|_| skip == 200);
        feed(&titles.chain(other).map(|title| entry(&title, "TopicDescription", "")).collect::<String>())
    };
    let server = TestServer::start(page).await;
    let names = management(&server.config()).topics("scaleout-chat-").await.unwrap();
    assert_eq!(names.len(), 250);
    assert_eq!(names[249], "Scaleout-chat-249");
    assert_eq!(
        server.lines(),
        [0, 100, 200].map(|skip| format!("GET /$Resources/topics?$skip={skip}&$top=100&api-version=2021-05"))
    );
}

#[tokio::test]
async fn a_list_that_is_none_or_has_no_titles_is_foreign() {
    let untitled = "<entry><title/></entry>";
    let full = entry("t", "TopicDescription", "").repeat(100);
    let (_server, management) =
        server([answer(200, "", "<entry/>"), feed(untitled), feed(&full), refusal(500, "")]).await;
    assert!(matches!(management.topics("").await, Err(Failure::Foreign(_))));
    assert!(matches!(management.topics("").await, Err(Failure::Foreign(_))));
    // The second page fails, and so does the whole.
    assert!(matches!(management.topics("").await, Err(Failure::Http { status: 500, .. })));
}

#[tokio::test]
async fn a_list_that_does_not_end_is_given_up() {
    let full = feed(&entry("t", "TopicDescription", "").repeat(100));
    let server = TestServer::start(move |_| full.clone()).await;
    let failure = management(&server.config()).topics("x").await.unwrap_err();
    assert!(matches!(failure, Failure::Foreign(what) if what.contains("does not end")));
}

#[tokio::test]
async fn a_wait_is_taken_from_the_header_or_the_text() {
    let (_server, management) = server([
        answer(429, "Retry-After: 7\r\n", ""),
        refusal(503, "SubCode=50009. Please wait 2 seconds and try again."),
    ])
    .await;
    let wait = |failure: Failure| failure.asked_wait().map(|wait| wait.as_secs());
    assert_eq!(management.topic("t").await.map_err(wait), Err(Some(7)));
    assert_eq!(management.topic("t").await.map_err(wait), Err(Some(2)));
}

/// Counts its tokens: `jwt-1`, `jwt-2`, …
#[derive(Debug, Default)]
struct Counted(AtomicU32);

impl TokenProvider for Counted {
    fn token(&self) -> BoxFuture<'_, Result<AccessToken, Error>> {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        let expires_at = SystemTime::now() + Duration::from_secs(3_600);
        async move { Ok(AccessToken { secret: format!("jwt-{number}").into(), expires_at }) }.boxed()
    }
}

#[tokio::test]
async fn a_refused_access_token_is_replaced_once() {
    let server = TestServer::start(|asked| match asked.head.contains("authorization: bearer jwt-2") {
        true => feed(""),
        false => refusal(401, "ExpiredToken"),
    })
    .await;
    let config = server.config().with_credential(Credential::Token(Arc::new(Counted::default())));
    let management = management(&config);
    assert_eq!(management.topic("t").await.unwrap(), None);
    assert_eq!(server.lines().len(), 2);
    management.tokens.forget("");
    let failure = management.topic("t").await.unwrap_err();
    assert!(matches!(failure, Failure::Unauthorized(detail) if detail == "ExpiredToken"));
    assert_eq!(server.lines().len(), 4);
}

#[tokio::test]
async fn a_token_that_is_no_header_is_refused_before_it_is_sent() {
    #[derive(Debug)]
    struct Broken;
    impl TokenProvider for Broken {
        fn token(&self) -> BoxFuture<'_, Result<AccessToken, Error>> {
            let expires_at = SystemTime::now() + Duration::from_secs(3_600);
            async move { Ok(AccessToken { secret: "a\r\nHost: b".into(), expires_at }) }.boxed()
        }
    }
    let (server, _) = server([]).await;
    let config = server.config().with_credential(Credential::Token(Arc::new(Broken)));
    let failure = management(&config).topic("t").await.unwrap_err();
    assert!(matches!(failure, Failure::Unauthorized(_)));
    assert!(server.lines().is_empty());
}

#[tokio::test]
async fn a_key_that_is_refused_is_not_tried_again() {
    let (server, management) =
        server([refusal(401, "SubCode=40103: Invalid authorization token signature")]).await;
    let failure = management.topic("t").await.unwrap_err();
    let error = failure.into_error("looking for topic t", &server.config());
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.to_string().contains("policy root"), "{error}");
    assert_eq!(server.lines().len(), 1);
}
